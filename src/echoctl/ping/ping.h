/* SPDX-License-Identifier: MIT */
/* A run of probes at a fixed schedule. */
#ifndef ECHOCTL_PING_PING_H
#define ECHOCTL_PING_PING_H

#include <stdbool.h>
#include <stdint.h>

#include "echoctl/dial/dial.h"
#include "echoctl/ping/link.h"
#include "echoctl/ping/tally.h"
#include "echoctl/probe/schedule.h"

#define PING_WINDOW 65536	/* probes on their way over one connection */
#define PING_SLOTS 256		/* connections at a time with --reconnect */

struct ping_settings {
	uint64_t count;			/* 0: until stopped */
	uint64_t interval_us;
	uint64_t late_us;
	uint64_t size_bytes;
	bool timestamps;
	bool reconnect;
};

/* A connection and what is known of its probes. */
struct ping_slot {
	struct ping_link link;
	bool connecting;
	uint64_t sequence;		/* of the latest probe */
	uint64_t started_ns;		/* when connecting began */
	uint64_t connected_ns;
	uint64_t overdue;		/* of the unanswered probes, how many were said to be so */
};

struct ping {
	struct ping_settings settings;
	struct ping_tally tally;
	struct schedule schedule;
	struct dial_address target;
	struct dial_options dial_options;
	uint64_t next;			/* event of the schedule; its sequence is one more */
	struct ping_slot slots[PING_SLOTS];
	unsigned n_slots;		/* in use: 1, or PING_SLOTS with --reconnect */
};

/*
 * Takes over the connection that the first probe uses, sends all probes and counts what becomes
 * of them in ping->tally, until they are done, the deadline has come or a signal. Returns 0, or
 * -errno when this side failed.
 */
int ping_run(struct ping *ping, const struct dial *dial);

#endif
