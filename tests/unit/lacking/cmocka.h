/* SPDX-License-Identifier: MIT */
/* Stands in for cmocka's where configure has not found it: building needs none, testing does. */
#error "make check needs cmocka 1.1.5 or newer: apt-get install libcmocka-dev, then configure again"
