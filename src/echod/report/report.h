/* SPDX-License-Identifier: MIT */
/* Makes lines of the log from a listener's events, rate-limited. */
#ifndef ECHOD_REPORT_REPORT_H
#define ECHOD_REPORT_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "echod/configuration/configuration.h"
#include "echod/log/log.h"
#include "wire/datagram.h"
#include "wire/event.h"

/*
 * Kinds of lines with a window of their own: a number of lines in a time, and a count of the rest.
 */
enum report_about {
	REPORT_CONNECTIONS,
	REPORT_CRASHES,			/* a flood of connections never hides them */
	REPORT_LIMIT,			/* limits { connections } reached and left */
	REPORT_STARVED,			/* one for each of eight errno values at a time */
	REPORT_WINDOWS = REPORT_STARVED + 8,
};

/* Opens with the first line that it admits. */
struct report_window {
	uint64_t start_ns;		/* CLOCK_MONOTONIC */
	uint64_t admitted;		/* lines; 0: it is not open */
	uint64_t left_out;		/* events */
	uint32_t detail;		/* of the last event: errno, limit of connections */
	bool is_reached;		/* limit: reached, not left */
};

/* Starts as {0} and report_configure(). */
struct report {
	enum log_connections connections;
	uint32_t max_per_second;	/* 0 = off */
	struct report_window windows[REPORT_WINDOWS];
	uint64_t suppressed;		/* lines of connections left out since the start */
};

/* Takes log { connections, max-per-second } from the configuration. */
void report_configure(struct report *report, const struct configuration *configuration);

/*
 * Logs one event at this time (CLOCK_MONOTONIC). unix_path: of the listening socket if it is a Unix
 * one, else NULL. Any number in the event may be nonsense from a hostile worker: numbers are
 * printed, never used as an index.
 */
void report_event(struct report *report, const struct event *event, const char *unix_path,
		  uint64_t now_ns);

/*
 * Logs one line for each window that is over and has left lines out, and lets the log write lines
 * that wait for their sink. Returns when to call it again (CLOCK_MONOTONIC, ns), UINT64_MAX if
 * nothing waits.
 */
uint64_t report_flush(struct report *report, uint64_t now_ns);

/*
 * What was logged about the datagrams of a generation, and when the next lines may come. Starts as
 * {0}.
 */
struct report_datagrams {
	struct datagram_counters sockets[SETTINGS_MAX_SOCKETS];
	uint64_t drops[DROP_COUNT];
	uint64_t drops_due_ns[DROP_COUNT];
	uint64_t traffic_due_ns;
};

/*
 * Logs at this time (CLOCK_MONOTONIC) what has come since the last lines: a line for each reason of
 * drops at most every ten seconds, with the last peer and their number; a line for each socket with
 * traffic every minute. is_last: logs the rest.
 */
void report_datagrams(struct report_datagrams *said, const struct datagrams *datagrams,
		      bool is_last, uint64_t now_ns);

/* Treats the counts until now as logged: by the program that handed over. */
void report_datagrams_skip(struct report_datagrams *said, const struct datagrams *datagrams);

/*
 * Ends of connections as the log and the control socket show them: "192.0.2.7:51812",
 * "[2001:db8::7]:51812", "unix:pid=1,uid=0" or "unknown"; our own end of a Unix one is
 * "unix:PATH" of its listening socket. Both return text.
 */
const char *report_peer(const struct endpoint *peer, char text[ADDRESS_TEXT_MAX]);
const char *report_local(const struct endpoint *local, const char *unix_path,
			 char text[ADDRESS_TEXT_MAX]);

/* The line of an EVENT_OPENED, EVENT_CLOSED or EVENT_REFUSED, for report_event() and the fuzzer. */
void report_fill(struct log_record *record, const struct event *event, const char *unix_path);

#endif
