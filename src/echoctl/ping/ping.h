/* SPDX-License-Identifier: MIT */
/* One target of ping: how it is probed, its connections, and the results of the probes. */
#ifndef ECHOCTL_PING_PING_H
#define ECHOCTL_PING_PING_H

#include <stdbool.h>
#include <stdint.h>

#include "echoctl/command_line/targets.h"
#include "echoctl/dial/dial.h"
#include "echoctl/output/histogram.h"
#include "echoctl/output/report.h"
#include "echoctl/output/series.h"
#include "echoctl/output/table.h"
#include "echoctl/ping/flow.h"
#include "echoctl/ping/link.h"
#include "echoctl/probe/require.h"
#include "echoctl/probe/schedule.h"

#define LINKS_MAX 256		/* connections at a time with --reconnect */

struct ping {
	uint64_t count;			/* 0: until stopped */
	uint64_t interval_us;		/* with adaptive: at most */
	bool adaptive;			/* the next probe goes when the last one is back */
	uint64_t adaptive_ns;		/* or then */
	uint64_t late_us;
	uint64_t size_bytes;
	bool timestamps;
	struct require require;
	bool reconnect;			/* a connection for each probe */
	bool udp;			/* a datagram for each; links[0] has the socket */
	struct ping_flow flow;
	struct report *report;
	struct series *series;
	const struct target *named;	/* as the user did */
	char peer[ADDRESS_TEXT_MAX];
	struct schedule *schedule;	/* of all targets */
	uint64_t offset_ns;		/* when its own turn comes in each interval */
	struct dial_address target;
	struct dial_options dial;
	uint64_t next;			/* event of the schedule; its sequence is one more */
	struct ping_link links[LINKS_MAX];
	unsigned n_links;		/* in use: 1, or LINKS_MAX with --reconnect */
	/* Results of the probes. */
	uint64_t started_ns;
	uint64_t sent;			/* ok, late, lost, corrupt, and what is still on its way */
	uint64_t counts[PING_RESULTS];
	struct histogram rtt;		/* of ok and late */
	struct histogram connect;	/* time to connect; separate from rtt */
	const char *broken;		/* why the connection ended early, or NULL */
	uint64_t last_rtt_ns;
	double jitter_sum_ns;		/* of the differences between successive rtt */
};

/* The line before all probes. */
void ping_tally_head(struct ping *ping);

/* Takes a reply from the link; connect_ns counts with --reconnect only. */
void ping_tally_reply(struct ping *ping, const struct ping_reply *reply, uint64_t connect_ns);

/* A probe without a reply: lost, refused, unsent or overdue. phase: "connect", "send", "echo". */
void ping_tally_missing(struct ping *ping, enum ping_result result, const struct ping_probe *probe,
			const char *phase, const char *why);

/* The connection of all probes is broken: -errno of that phase, and the same in words. */
void ping_tally_broken(struct ping *ping, const char *phase, int error, const char *why);

/* The table of several targets; NULL: no memory. */
struct libscols_table *ping_table_new(void);

/* The statistics; final: at the end of the run. table: for a row of it, or NULL. */
void ping_tally_summary(struct ping *ping, bool final, struct libscols_table *table);

/*
 * Says what of the requirements holds. True if all do and, unless they name the loss, every probe
 * came back whole and in time, and there was one.
 */
bool ping_judge(const struct ping *ping);

#endif
