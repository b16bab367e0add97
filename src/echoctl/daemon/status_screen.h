/* SPDX-License-Identifier: MIT */
/* The state of the daemon on one screen. */
#ifndef ECHOCTL_DAEMON_STATUS_SCREEN_H
#define ECHOCTL_DAEMON_STATUS_SCREEN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#define STATUS_HISTORY_MAX 60

/* Rates between the states of the daemon that were seen, oldest first. Starts as {0}. */
struct status_history {
	uint64_t accepted[STATUS_HISTORY_MAX];	/* connections a second */
	uint64_t bytes_in[STATUS_HISTORY_MAX];	/* bytes a second */
	unsigned count;
	uint64_t uptime_ns;			/* of the last state; 0: none was seen */
	uint64_t last_accepted;
	uint64_t last_bytes_in;
};

/* Takes in a reply to "status". One of a daemon that was started since begins anew. */
void status_history_add(struct status_history *history, const json_t *status);

/*
 * Writes the screen for a reply to "status", the rates if there are any; bars and curves are of
 * blocks with utf8.
 */
void status_screen_draw(FILE *stream, const json_t *status, const struct status_history *history,
			bool utf8);

/* value of max as a bar of so many columns between brackets. */
void status_bar(FILE *stream, uint64_t value, uint64_t max, unsigned columns, bool utf8);

/* One mark a value, the largest value the highest mark. */
void status_curve(FILE *stream, const uint64_t *values, unsigned count, bool utf8);

#endif
