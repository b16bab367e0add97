/* SPDX-License-Identifier: MIT */
/* Sizes and times for people. Each function returns text. */
#ifndef ECHOCTL_OUTPUT_UNITS_H
#define ECHOCTL_OUTPUT_UNITS_H

#include <stdint.h>

#define UNITS_TEXT_MAX 24

/* "512 B", "1.5 MiB" */
const char *units_bytes(double bytes, char text[UNITS_TEXT_MAX]);

/* To three digits: "950 ns", "1.23 ms" */
const char *units_time(uint64_t time_ns, char text[UNITS_TEXT_MAX]);

/* "950 ms", "12 s", "3 min 4 s", "2 h 5 min", "9 d 3 h" */
const char *units_age(uint64_t age_ns, char text[UNITS_TEXT_MAX]);

#endif
