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

struct ping_tally {
	struct report *report;
	const char *host;		/* as the user named it */
	char peer[ADDRESS_TEXT_MAX];
	uint64_t size_bytes;
	uint64_t late_after_ns;
	bool timestamps;
	bool connects;			/* a connection for each probe */
	uint64_t started_ns;
	uint64_t sent;			/* the next four together, and what is still on its way */
	uint64_t ok;
	uint64_t lost;
	uint64_t corrupt;
	uint64_t late;
	uint64_t unsent;		/* due, but the peer did not read; not in sent */
	struct histogram rtt;		/* of ok and late */
	struct histogram connect;	/* until the connection stood; separate from rtt */
	const char *broken;		/* why the connection ended early, or NULL */
	uint64_t last_rtt_ns;
	double jitter_sum_ns;		/* of the differences between successive rtt */
};

/* A whole echo or what was overtaken; connect_ns counts with connects only. */
void ping_tally_reply(struct ping_tally *tally, const struct ping_reply *reply,
		      uint64_t connect_ns);

/* A probe that will not come back, and why: a phase ("connect", "echo") and words. */
void ping_tally_lost(struct ping_tally *tally, uint64_t sequence, const char *phase,
		     const char *why);

/* A probe that has not come back in time, but may still. */
void ping_tally_overdue(struct ping_tally *tally, uint64_t sequence);

/* A probe that could not be sent when it was due. */
void ping_tally_unsent(struct ping_tally *tally, uint64_t sequence, const char *why);

/* The connection of all probes is broken: -errno of that phase, and the same in words. */
void ping_tally_broken(struct ping_tally *tally, const char *phase, int error, const char *why);

/* The statistics; final: at the end of the run. */
void ping_tally_summary(struct ping_tally *tally, bool final);

/* True when every probe came back whole and in time, and there was one. */
bool ping_tally_well(const struct ping_tally *tally);

#endif
