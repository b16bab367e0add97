/* SPDX-License-Identifier: MIT */
/* What a measurement has to keep: "p99<20ms,loss<0.1%". */
#ifndef ECHOCTL_PROBE_REQUIRE_H
#define ECHOCTL_PROBE_REQUIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "echoctl/output/histogram.h"
#include "echoctl/output/report.h"

#define REQUIRE_MAX 8
#define REQUIRE_TEXT_MAX 32

struct require {
	bool has_loss;			/* one of them is the loss; else no message may fail */
	size_t n;			/* 0: nothing is required */
	struct require_bound {
		char text[REQUIRE_TEXT_MAX];
		double percent;		/* of the latency; < 0: the loss */
		double limit;		/* ns, or per cent of the messages; must stay below it */
	} bounds[REQUIRE_MAX];
};

/* For command_take_list(): adds one to data, a struct require. */
const char *require_take(void *data, const char *text);

/*
 * Says of each bound whether it holds and what was measured: latency, and failed of total messages.
 * Without a measurement none holds. Returns whether all hold.
 */
bool require_judge(const struct require *require, const struct histogram *latency, uint64_t failed,
		   uint64_t total, struct report *report);

#endif
