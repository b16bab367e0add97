/* SPDX-License-Identifier: MIT */
/* Durations as people write them. */
#include "base/duration.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"

#define US_PER_S 1000000u
#define US_PER_DAY (86400ull * US_PER_S)
#define DURATION_MAX_US (36525ull * US_PER_DAY)

/* Where one name begins another the longer one comes first. */
static const struct unit {
	const char *name;
	uint64_t us;
} units[] = {
	{ "d", US_PER_DAY },
	{ "hr", 3600ull * US_PER_S },
	{ "h", 3600ull * US_PER_S },
	{ "min", 60ull * US_PER_S },
	{ "ms", 1000 },
	{ "m", 60ull * US_PER_S },
	{ "sec", US_PER_S },
	{ "s", US_PER_S },
	{ "us", 1 },
};

static const char *skip_spaces(const char *text)
{
	return text + strspn(text, " \t");
}

static const struct unit *find_unit(const char *text)
{
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strncmp(text, units[i].name, strlen(units[i].name)) == 0)
			return &units[i];
	}
	return NULL;
}

int duration_parse(const char *text, uint64_t *ret_us)
{
	uint64_t total_us = 0;
	const char *next = skip_spaces(text);
	const char *first = next;
	int r = 0;

	do {
		struct decimal decimal;
		const struct unit *unit;
		const char *number = next;
		uint64_t part_us;
		int scaled;

		next = number_scan_decimal(number, &decimal);
		if (!next)
			return -EINVAL;
		next = skip_spaces(next);
		unit = find_unit(next);
		if (!unit && (*next != '\0' || number != first))
			return -EINVAL;
		/* What is out of range may still turn out to be malformed. */
		scaled = number_scale(&decimal, unit ? unit->us : US_PER_S, &part_us);
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
	static const struct unit printed[] = {
		{ "d", US_PER_DAY },  { "h", 3600ull * US_PER_S }, { "min", 60ull * US_PER_S },
		{ "s", US_PER_S },    { "ms", 1000 },		   { "us", 1 },
	};
	size_t used = 0;

	strcpy(text, "0");
	for (size_t i = 0; i < sizeof(printed) / sizeof(printed[0]); i++) {
		uint64_t count = us / printed[i].us;

		us %= printed[i].us;
		if (count > 0)
			used += (size_t)snprintf(text + used, DURATION_TEXT_MAX - used, "%s%llu%s",
						 used ? " " : "", (unsigned long long)count,
						 printed[i].name);
	}
	return text;
}
