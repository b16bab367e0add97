/* SPDX-License-Identifier: MIT */
/* The state of the daemon on one screen. */
#ifndef ECHOCTL_DAEMON_STATUS_SCREEN_H
#define ECHOCTL_DAEMON_STATUS_SCREEN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#define STATUS_HISTORY_MAX 60

struct status_series {
	uint64_t rates[STATUS_HISTORY_MAX];	/* a second, oldest first */
	uint64_t total;				/* in the last state */
};

/* Rates between successive states of the daemon. Starts as {0}. */
struct status_history {
	struct status_series accepted;
	struct status_series bytes_in;
	unsigned count;
	uint64_t uptime_ns;			/* of the last state; 0: none so far */
};

/* Adds a reply to "status". If the daemon was restarted, the history begins again. */
void status_history_add(struct status_history *history, const json_t *status);

/*
 * Writes the screen for a reply to "status", the rates if there are any; bars and curves are of
 * blocks with utf8. Bars, curves and the table of generations are no wider than so many columns, 40
 * or more.
 */
void status_screen_draw(FILE *stream, const json_t *status, const struct status_history *history,
			unsigned columns, bool utf8);

/* Writes value of max as a bar of so many columns between brackets. */
void status_bar(FILE *stream, uint64_t value, uint64_t max, unsigned columns, bool utf8);

/* Writes one mark for each value; the largest value has the highest mark. */
void status_curve(FILE *stream, const uint64_t *values, unsigned count, bool utf8);

#endif
