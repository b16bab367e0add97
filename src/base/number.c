/* SPDX-License-Identifier: MIT */
/* Whole and decimal numbers from text. */
#include "base/number.h"

#include <errno.h>
#include <stddef.h>

/* Seven digits: enough for durations and sizes, and number_scale() stays within 64 bits. */
#define FRACTION_ONE 10000000u

static inline int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : -1;
}

/* Reads digits, sticks at UINT64_MAX. Returns where they end. */
static const char *scan_whole(const char *text, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (; digit(*text) >= 0; text++) {
		if (__builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (unsigned)digit(*text), &value))
			value = UINT64_MAX;
	}
	*ret_value = value;
	return text;
}

int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
	uint64_t value;
	const char *end = scan_whole(text, &value);

	if (end == text || *end != '\0')
		return -EINVAL;
	if (value < min || value > max || value == UINT64_MAX)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

const char *number_scan_decimal(const char *text, struct decimal *ret_decimal)
{
	struct decimal decimal = { 0 };
	const char *next = scan_whole(text, &decimal.whole);
	uint32_t weight = FRACTION_ONE;

	if (next == text)
		return NULL;
	if (*next == '.') {
		if (digit(*++next) < 0)
			return NULL;
		for (; digit(*next) >= 0; next++) {
			weight /= 10;
			decimal.fraction += (uint32_t)digit(*next) * weight;
		}
	}
	*ret_decimal = decimal;
	return next;
}

int number_scale(const struct decimal *decimal, uint64_t unit, uint64_t *ret_value)
{
	uint64_t value;

	if (decimal->whole == UINT64_MAX ||
	    __builtin_mul_overflow(decimal->whole, unit, &value) ||
	    __builtin_add_overflow(value, decimal->fraction * unit / FRACTION_ONE, &value))
		return -ERANGE;
	if (value == 0 && (decimal->whole || decimal->fraction))
		return -EDOM;
	*ret_value = value;
	return 0;
}
