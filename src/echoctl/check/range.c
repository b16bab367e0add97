/* SPDX-License-Identifier: MIT */
/* Monitoring plugin thresholds. */
#include "echoctl/check/range.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A plain decimal number up to end: strtod() alone would take "inf", "nan", "0x10" and blanks. */
static int parse_number(const char *text, const char *end, double *ret_value)
{
	char *stop;
	double value;

	if (text == end || strspn(text, "+-.0123456789eE") < (size_t)(end - text))
		return -EINVAL;
	value = strtod(text, &stop);
	if (stop != end || !isfinite(value))
		return -EINVAL;
	*ret_value = value;
	return 0;
}

int range_parse(const char *text, struct range *ret_range)
{
	struct range range = { .text = text, .start = 0, .end = INFINITY };
	const char *end = text + strlen(text);
	const char *colon;

	if (*text == '@') {
		range.alert_inside = true;
		text++;
	}
	colon = strchr(text, ':');
	if (colon) {
		if (strncmp(text, "~:", 2) == 0)
			range.start = -INFINITY;
		else if (colon > text && parse_number(text, colon, &range.start) < 0)
			return -EINVAL;
		text = colon + 1;
	}
	/* Only after a colon may the end be left out. */
	if ((!colon || text < end) && parse_number(text, end, &range.end) < 0)
		return -EINVAL;
	if (range.start > range.end)
		return -ERANGE;
	*ret_range = range;
	return 0;
}

bool range_alerts(const struct range *range, double value)
{
	bool inside = value >= range->start && value <= range->end;

	return inside == range->alert_inside;
}
