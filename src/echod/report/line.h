/* SPDX-License-Identifier: MIT */
/* The lines of connections: from an event to word, priority and fields. Pure. */
#ifndef ECHOD_REPORT_LINE_H
#define ECHOD_REPORT_LINE_H

#include <stddef.h>

#include "base/address.h"
#include "echod/log/log.h"
#include "wire/event.h"

#define REPORT_FIELDS_MAX 16
#define REPORT_VALUE_MAX ADDRESS_TEXT_MAX

/* Values stand in the line itself (or are static), so it is not copied. */
struct report_line {
	int priority;
	const char *word;
	size_t count;
	struct log_field fields[REPORT_FIELDS_MAX];
	char values[REPORT_FIELDS_MAX][REPORT_VALUE_MAX];
};

/*
 * The priority that the event's line has: info; debug when no byte was carried and the peer
 * ended it (a health check); warning for end=error and a worker ended by a signal; error for a
 * crash.
 */
int report_line_priority(const struct event *event);

/*
 * Fills line from EVENT_OPENED, EVENT_CLOSED or EVENT_REFUSED. unix_path: of the listening
 * socket, NULL unless a Unix one.
 */
void report_line_fill(struct report_line *line, const struct event *event, const char *unix_path);

/* Appends one field; value is copied and cut to REPORT_VALUE_MAX. */
void report_line_add(struct report_line *line, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Appends errno=NAME error="TEXT". */
void report_line_add_errno(struct report_line *line, uint32_t error);

#endif
