/* SPDX-License-Identifier: MIT */
/* Whole and decimal numbers from text, strictly. */
#ifndef ECHOD_BASE_NUMBER_H
#define ECHOD_BASE_NUMBER_H

#include <stdint.h>

/*
 * Decimal digits only, all of text. Returns 0, -EINVAL (not a number), -ERANGE (outside
 * min..max; UINT64_MAX always is).
 */
int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value);

/* A number such as 12 or 1.5; digits behind the seventh decimal are cut off. */
struct decimal {
	uint64_t whole;		/* UINT64_MAX: that much or more */
	uint32_t fraction;	/* in units of 10^-7 */
};

/* Reads a number at the start of text; returns the byte behind it, NULL when there is none. */
const char *number_scan_decimal(const char *text, struct decimal *ret_decimal);

/*
 * decimal times unit, rounded down; unit is 2^40 at most. Returns 0, -ERANGE when that does not
 * fit, or -EDOM when rounding would leave nothing of a number that is not zero.
 */
int number_scale(const struct decimal *decimal, uint64_t unit, uint64_t *ret_value);

#endif
