/* SPDX-License-Identifier: MIT */
/* What became of the probes: the line of each one, and the statistics of all. */
#ifndef ECHOCTL_PING_TALLY_H
#define ECHOCTL_PING_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "echoctl/output/histogram.h"
#include "echoctl/output/report.h"
#include "echoctl/ping/link.h"

/* What the user asked for. */
struct ping_settings {
	uint64_t count;			/* 0: until stopped */
	uint64_t interval_us;
	uint64_t late_us;
	uint64_t size_bytes;
	bool timestamps;
	bool reconnect;			/* a connection for each probe */
};

struct ping_tally {
	struct ping_settings settings;
	struct report *report;
	const char *host;		/* as the user named it */
	char peer[ADDRESS_TEXT_MAX];
	uint64_t started_ns;
	uint64_t sent;			/* ok, late, lost, corrupt, and what is still on its way */
	uint64_t counts[PING_RESULTS];
	struct histogram rtt;		/* of ok and late */
	struct histogram connect;	/* until the connection stood; separate from rtt */
	const char *broken;		/* why the connection ended early, or NULL */
	uint64_t last_rtt_ns;
	double jitter_sum_ns;		/* of the differences between successive rtt */
};

/* What the link has made of a probe; connect_ns counts with --reconnect only. */
void ping_tally_reply(struct ping_tally *tally, const struct ping_reply *reply,
		      uint64_t connect_ns);

/* A probe without a reply: lost, unsent or overdue. phase: "connect", "send", "echo". */
void ping_tally_missing(struct ping_tally *tally, enum ping_result result, uint64_t sequence,
			const char *phase, const char *why);

/* The connection of all probes is broken: -errno of that phase, and the same in words. */
void ping_tally_broken(struct ping_tally *tally, const char *phase, int error, const char *why);

/* The statistics; final: at the end of the run. */
void ping_tally_summary(struct ping_tally *tally, bool final);

/* True if every probe came back whole and in time, and there was one. */
bool ping_tally_well(const struct ping_tally *tally);

#endif
