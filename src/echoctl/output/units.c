/* SPDX-License-Identifier: MIT */
/* Sizes and times for people. */
#include "echoctl/output/units.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

const char *units_bytes(double bytes, char text[UNITS_TEXT_MAX])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t unit = 0;

	while (bytes >= 1024 && unit + 1 < sizeof(units) / sizeof(*units)) {
		bytes /= 1024;
		unit++;
	}
	snprintf(text, UNITS_TEXT_MAX, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
	return text;
}

const char *units_time(uint64_t time_ns, char text[UNITS_TEXT_MAX])
{
	static const struct {
		uint64_t ns;
		const char *name;
	} units[] = { { 1000000000, "s" }, { 1000000, "ms" }, { 1000, "us" }, { 1, "ns" } };
	unsigned i = 0;
	unsigned decimals = 2;
	double value;

	while (units[i].ns > 1 && time_ns < units[i].ns)
		i++;
	value = (double)time_ns / (double)units[i].ns;
	if (units[i].ns == 1 || value >= 99.95)
		decimals = 0;
	else if (value >= 9.995)
		decimals = 1;
	snprintf(text, UNITS_TEXT_MAX, "%.*f %s", (int)decimals, value, units[i].name);
	return text;
}

const char *units_age(uint64_t age_ns, char text[UNITS_TEXT_MAX])
{
	uint64_t s = age_ns / 1000000000;

	if (s == 0)
		snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 " ms", age_ns / 1000000);
	else if (s < 60)
		snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 " s", s);
	else if (s < 3600)
		snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 " h %" PRIu64 " min", s / 3600,
			 s / 60 % 60);
	else
		snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 " d %" PRIu64 " h", s / 86400,
			 s / 3600 % 24);
	return text;
}
