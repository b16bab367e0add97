/* SPDX-License-Identifier: MIT */
/* Numbers, sizes and durations as people write them. */
#include "base/number.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* Seven digits: enough for durations and sizes, and scale() stays within 64 bits. */
#define FRACTION_ONE 10000000u
#define DURATION_MAX_US (36525 * 86400ull * CLOCK_US_PER_S)

/* A number such as 12 or 1.5; digits behind the seventh decimal are cut off. */
struct decimal {
	uint64_t whole;		/* UINT64_MAX: that or more */
	uint32_t fraction;	/* in units of 10^-7 */
};

/* If a unit has two names, the first is written. */
static const struct unit {
	const char *name;
	uint64_t us;
} units[] = {
	{ "d", 86400ull * CLOCK_US_PER_S },
	{ "h", 3600ull * CLOCK_US_PER_S },
	{ "hr", 3600ull * CLOCK_US_PER_S },
	{ "min", 60ull * CLOCK_US_PER_S },
	{ "m", 60ull * CLOCK_US_PER_S },
	{ "s", CLOCK_US_PER_S },
	{ "sec", CLOCK_US_PER_S },
	{ "ms", 1000 },
	{ "us", 1 },
};

static const char size_suffixes[] = "KMGT";

/* Reads digits; a larger number becomes UINT64_MAX. Returns where they end. */
static const char *scan_whole(const char *text, uint64_t *ret_value)
{
	*ret_value = isdigit((unsigned char)*text) ? strtoull(text, NULL, 10) : 0;
	return text + strspn(text, "0123456789");
}

int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
	uint64_t value;
	const char *end = scan_whole(text, &value);

	assert(min <= max);
	if (end == text || *end != '\0')
		return -EINVAL;
	if (value < min || value > max || value == UINT64_MAX)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

/* Returns the byte behind the number at the start of text, NULL if there is none. */
static const char *scan_decimal(const char *text, struct decimal *ret_decimal)
{
	struct decimal decimal = {0};
	const char *next = scan_whole(text, &decimal.whole);
	uint32_t weight = FRACTION_ONE;

	if (next == text)
		return NULL;
	if (*next == '.') {
		if (!isdigit((unsigned char)*++next))
			return NULL;
		for (; isdigit((unsigned char)*next); next++) {
			weight /= 10;
			decimal.fraction += (uint32_t)(*next - '0') * weight;
		}
	}
	*ret_decimal = decimal;
	return next;
}

/*
 * decimal times unit (2^40 at most), rounded down. Returns 0, -ERANGE if that does not fit, or
 * -EDOM if rounding would leave nothing of a number that is not zero.
 */
static int scale(const struct decimal *decimal, uint64_t unit, uint64_t *ret_value)
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

int size_parse(const char *text, uint64_t *ret_bytes)
{
	struct decimal decimal;
	const char *next = scan_decimal(text, &decimal);
	const char *suffix;
	uint64_t unit = 1;

	if (!next)
		return -EINVAL;
	suffix = *next ? strchr(size_suffixes, toupper((unsigned char)*next)) : NULL;
	if (suffix) {
		unit <<= 10 * (suffix - size_suffixes + 1);
		next++;
		if (next[0] == 'i' && next[1] == 'B')
			next++;
	}
	if (*next == 'B')
		next++;
	if (*next != '\0')
		return -EINVAL;
	return scale(&decimal, unit, ret_bytes);
}

const char *size_format(uint64_t bytes, char text[SIZE_TEXT_MAX])
{
	char suffix[2] = "";

	for (size_t i = 0; bytes > 0 && bytes % 1024 == 0 && size_suffixes[i] != '\0'; i++) {
		bytes /= 1024;
		suffix[0] = size_suffixes[i];
	}
	snprintf(text, SIZE_TEXT_MAX, "%llu%s", (unsigned long long)bytes, suffix);
	return text;
}

static const char *skip_spaces(const char *text)
{
	return text + strspn(text, " \t");
}

/* The unit that the letters at the start of text name, or NULL. */
static const struct unit *find_unit(const char *text)
{
	size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz");

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (length == strlen(units[i].name) && strncmp(text, units[i].name, length) == 0)
			return &units[i];
	return NULL;
}

int duration_parse(const char *text, uint64_t *ret_us)
{
	const char *first = skip_spaces(text);
	const char *next = first;
	uint64_t total_us = 0;
	int r = 0;

	do {
		struct decimal decimal;
		const struct unit *unit;
		const char *number = next;
		uint64_t part_us;
		int scaled;

		next = scan_decimal(number, &decimal);
		if (!next)
			return -EINVAL;
		next = skip_spaces(next);
		unit = find_unit(next);
		if (!unit && (*next != '\0' || number != first))
			return -EINVAL;
		/* Not reported yet: the rest may be malformed, which is the better reason. */
		scaled = scale(&decimal, unit ? unit->us : CLOCK_US_PER_S, &part_us);
		if (scaled == 0 && part_us <= DURATION_MAX_US - total_us)
			total_us += part_us;
		else if (r != -ERANGE)
			r = scaled == -EDOM ? -EDOM : -ERANGE;
		next = skip_spaces(next + (unit ? strlen(unit->name) : 0));
	} while (*next != '\0');

	if (r == 0)
		*ret_us = total_us;
	return r;
}

const char *duration_format(uint64_t us, char text[DURATION_TEXT_MAX])
{
	size_t used = 0;

	strcpy(text, "0");
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		uint64_t count = us / units[i].us;

		us %= units[i].us;
		if (count > 0)
			used += (size_t)snprintf(text + used, DURATION_TEXT_MAX - used, "%s%llu%s",
						 used ? " " : "", (unsigned long long)count,
						 units[i].name);
	}
	return text;
}
