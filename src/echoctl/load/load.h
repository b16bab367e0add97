/* SPDX-License-Identifier: MIT */
/* Many connections at once: what to do, what the processes share, and what they count. */
#ifndef ECHOCTL_LOAD_LOAD_H
#define ECHOCTL_LOAD_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "echoctl/dial/dial.h"
#include "echoctl/output/histogram.h"
#include "echoctl/output/report.h"

#define LOAD_PROCESSES_MAX 16

/* Where an echo failed. */
enum load_phase {
	LOAD_CONNECT,
	LOAD_SEND,
	LOAD_ECHO,	/* nothing came back, or not in time, or the peer closed */
	LOAD_VERIFY,	/* other bytes came back */
	LOAD_EOF,	/* with a connection for each message: the peer's FIN did not follow */
	LOAD_PHASES,
};

/* Set before the first fork, then only read. */
struct load {
	struct dial_address target;
	struct dial_options dial;	/* its timeout is the one for each attempt to connect */
	uint64_t processes;
	uint64_t connections;
	uint64_t messages;		/* 0: as many as there is time for */
	uint64_t rate;			/* messages a second; 0: closed loop */
	uint64_t size_bytes;
	uint64_t duration_us;
	uint64_t timeout_us;		/* for one message */
	bool reconnect;			/* a connection for each message */
	const uint8_t *table;		/* payload_table_new() */
	struct load_shared *shared;
	/* Of the parent alone: where it reports. */
	struct report *report;
	char peer[ADDRESS_TEXT_MAX];
	bool progress;			/* the live line is wanted */
	bool terminal;			/* and may be rewritten in place */
};

/* What one process counts; the parent reads it while it runs. */
struct load_tally {
	uint64_t bytes;			/* verified */
	uint64_t connections;		/* made */
	uint64_t open;			/* now */
	uint64_t not_begun;		/* due before the end, with no connection free for it */
	uint64_t errors[LOAD_PHASES];	/* messages that failed: none of them is in raw */
	int reasons[LOAD_PHASES];	/* the latest -errno of each */
	bool ready;			/* each connection was tried once */
	struct histogram raw;		/* from sending to the echo, of what was verified */
	struct histogram corrected;	/* from when the message was due; with a rate only */
	struct histogram connect;
};

/* Shared memory of all processes. */
struct load_shared {
	uint64_t start_ns;		/* 0: not yet */
	bool stop;			/* leave at once */
	struct load_tally tallies[];
};

/* The whole life of process number index of load->processes. Returns 0 or -errno. */
int load_work(const struct load *load, uint64_t index);

/* The counters of all processes together; ret_tally is overwritten. */
void load_collect(const struct load *load, struct load_tally *ret_tally);

uint64_t load_errors(const struct load_tally *tally);

/* The live line: what the last interval brought. */
void load_report_progress(const struct load *load, const struct load_tally *now,
			  const struct load_tally *before, uint64_t elapsed_ns,
			  uint64_t interval_ns);

/* The end, when all processes are reaped: rates, errors by phase, percentiles, the histogram. */
void load_report_summary(const struct load *load, const struct load_tally *tally,
			 uint64_t elapsed_ns);

#endif
