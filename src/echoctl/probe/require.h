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
	bool of_load;			/* rate and retransmits are measured, too */
	bool has_loss;			/* loss or errors is one; else no message may fail */
	size_t n;			/* 0: nothing is required */
	struct require_bound {
		char text[REQUIRE_TEXT_MAX];
		enum require_what {
			REQUIRE_PERCENTILE,
			REQUIRE_MEAN,
			REQUIRE_LOSS,
			REQUIRE_ERRORS,
			REQUIRE_RATE,		/* must be above the limit, all others below */
			REQUIRE_RETRANSMITS,
		} what;
		double percent;		/* of REQUIRE_PERCENTILE */
		double limit;		/* ns, per cent of the messages, or a count */
	} bounds[REQUIRE_MAX];
};

struct require_measured {
	const struct histogram *latency;
	uint64_t failed;
	uint64_t total;			/* with those that failed */
	double per_second;
	int64_t retransmits;		/* -1: unknown */
};

/* For command_take_list(): adds one to data, a struct require. */
const char *require_take(void *data, const char *text);

/*
 * Says of each bound whether it holds and what was measured. One that was not measured does not
 * hold. Returns whether all hold.
 */
bool require_judge(const struct require *require, const struct require_measured *measured,
		   struct report *report);

#endif
