/* SPDX-License-Identifier: MIT */
/* What becomes of a listener's events: the lines of the log, rate-limited. */
#ifndef ECHOD_REPORT_REPORT_H
#define ECHOD_REPORT_REPORT_H

#include <stdint.h>

#include "echod/configuration/configuration.h"
#include "wire/event.h"

/* Its state: the rate limit's window and what was left out. Opaque, one for the daemon. */
struct report;

int report_new(struct report **ret_report);
void report_free(struct report *report);

/* From now on as configured: log.connections, log.max_per_second. */
void report_configure(struct report *report, const struct configuration *configuration);

/*
 * Logs one event ("opened", "closed", "refused", starvation, limit reached and left).
 * unix_path: of the listening socket when it is a Unix one, else NULL. Every number in the
 * event may be nonsense from a hostile worker: it is printed, never used as an index.
 */
void report_event(struct report *report, const struct event *event, const char *unix_path);

/* The same at a time (CLOCK_MONOTONIC) that the caller knows already. */
void report_event_at(struct report *report, const struct event *event, const char *unix_path,
		     uint64_t now_ns);

/*
 * Says in one line what the rate limit has left out, once a second at most, and lets the log
 * write what waits for its sink. Returns the time (CLOCK_MONOTONIC, ns) when it wants to be
 * called again, UINT64_MAX when nothing is owed.
 */
uint64_t report_flush(struct report *report, uint64_t now_ns);

/* Lines left out since the start. */
uint64_t report_suppressed(const struct report *report);

/* Goes on counting from there, for a program that takes over. */
void report_resume(struct report *report, uint64_t suppressed);

#endif
