/* SPDX-License-Identifier: MIT */
/* Whole numbers from text, strictly. */
#ifndef ECHOD_BASE_NUMBER_H
#define ECHOD_BASE_NUMBER_H

#include <stdint.h>

/* Decimal digits only, all of text. Returns 0, -EINVAL (not a number), -ERANGE (outside min..max). */
int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value);

#endif
