/* SPDX-License-Identifier: MIT */
/*
 * Thresholds as the Monitoring Plugins Development Guidelines write them:
 *	10	alert outside 0..10		10:	alert below 10
 *	~:10	alert above 10			10:20	alert outside 10..20
 *	@10:20	alert inside 10..20, both ends included
 */
#ifndef ECHOCTL_CHECK_RANGE_H
#define ECHOCTL_CHECK_RANGE_H

#include <stdbool.h>

struct range {
	const char *text;	/* as given; range_parse() keeps it */
	double start;		/* -INFINITY: no lower end */
	double end;		/* INFINITY: no upper end */
	bool alert_inside;
};

/* Returns 0, -EINVAL when malformed, -ERANGE when the start lies above the end. */
int range_parse(const char *text, struct range *ret_range);

bool range_alerts(const struct range *range, double value);

#endif
