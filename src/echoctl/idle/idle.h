/* SPDX-License-Identifier: MIT */
/* How long a silent connection lives: connections that stay silent for different times at once. */
#ifndef ECHOCTL_IDLE_IDLE_H
#define ECHOCTL_IDLE_IDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "echoctl/dial/dial.h"
#include "echoctl/output/report.h"

#define IDLE_PROBES_MAX 512
#define IDLE_MESSAGE_BYTES 64

struct idle_settings {
	uint64_t min_us;
	uint64_t max_us;
	uint64_t timeout_us;		/* for an answer */
	uint64_t parallel;		/* silences for each doubling, and in each bisection */
	uint64_t precision_percent;	/* what the last bracket may be wide */
};

struct idle {
	struct idle_settings settings;
	struct report *report;
	struct dial_address target;
	char peer[ADDRESS_TEXT_MAX];
	struct dial_options dial;
	bool progress;			/* a line on a terminal, rewritten in place */
	bool stopped;			/* by a signal */
	uint64_t survives_ns;		/* longest silence that was followed by an echo; 0: none */
	uint64_t dies_ns;		/* shortest that was not; 0: none */
	const char *how;		/* it died: "fin", "reset", "black hole", words; static */
	bool seen;			/* the end was seen while silent: dies_ns is exact */
	uint64_t said_ns;		/* longest silence that people were told of as survived */
	uint64_t contradicted_ns;	/* longest silence above dies_ns that lived; 0: none */
};

/*
 * Doubles from min to max, with parallel - 1 further steps in between, evenly spread. Returns how
 * many silences that are, in ascending order without repetition, at most IDLE_PROBES_MAX.
 */
size_t idle_grid(const struct idle_settings *settings, uint64_t silences_ns[IDLE_PROBES_MAX]);

/* The steps of a bisection, parallel of them between the bounds; their number. */
size_t idle_bisect(const struct idle_settings *settings, uint64_t survives_ns, uint64_t dies_ns,
		   uint64_t silences_ns[IDLE_PROBES_MAX]);

/* True when the bounds are close enough for the precision. */
bool idle_narrow(const struct idle_settings *settings, uint64_t survives_ns, uint64_t dies_ns);

/*
 * Tries these silences (ascending), all at once, until the shortest deadly one is known, and takes
 * what it finds into idle. Returns COMMAND_PROCEED or an exit status after saying why.
 */
int idle_round(struct idle *idle, const uint64_t *silences_ns, size_t n_silences);

#endif
