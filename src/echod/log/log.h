/* SPDX-License-Identifier: MIT */
/* The daemon's log: journal, syslog or standard error. Never blocks. */
#ifndef ECHOD_LOG_LOG_H
#define ECHOD_LOG_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>

#include "echod/configuration/configuration.h"
#include "echod/log/record.h"

/*
 * Before log_open() lines go to standard error. Opens what target says; auto: journal if
 * standard error is the journal's stream ($JOURNAL_STREAM), stderr if it is a terminal or syslog
 * cannot be reached, else syslog. Returns 0 or -errno; on failure the old target stays.
 */
int log_open(enum log_target target, int facility);

/* The same for a target that is not auto, with its socket at path (static): for tests. */
int log_open_at(enum log_target target, int facility, const char *path);

/*
 * Writes what waits for its sink. False if something still waits: call again soon (100 ms).
 * Each line that is logged does the same; this is for a daemon that falls silent.
 */
bool log_flush(void);

/* Gives waiting lines half a second, then closes; later lines go to standard error. */
void log_close(void);

/*
 * While the daemon starts, errors that go to syslog are written to standard error as well: a user
 * whose daemon fails looks there. Not for --inetd, where standard error may be the peer.
 */
void log_set_starting(bool is_starting);

/* Lines less important than level (LOG_DEBUG is the least) are not written. */
void log_set_level(int level);
int log_level(void);

/*
 * One line; if error, positive or negative, is not 0 it ends in ": strerror(error)". Returns the
 * error as a negative number.
 */
int log_errno(int priority, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* One line that was put together field by field. */
void log_record(struct log_record *record);

/* Lines that a sink could not take (socket full, journal stopped) since the start. */
uint64_t log_lost(void);

/* What another program needs to go on with this log. */
struct log_state {
	enum log_target target;		/* never LOG_TARGET_AUTO */
	uint64_t lost;			/* log_lost() */
	uint64_t lost_unsaid;		/* of those, what no line has said yet */
	bool is_torn;			/* the last line was not written to its end */
	const char *lines;		/* that wait, each with its NUL; not owned */
	size_t size;			/* of them all */
};

/* The lines are valid until the next call that logs. */
void log_save(struct log_state *ret_state);

/* Goes on with a log; for a program that has not opened another. Lines too many are lost. */
void log_restore(const struct log_state *state);

/*
 * From now on each line of log_errno() at warning or above is handed to watch as well, unescaped
 * and whatever the level is. NULL: no longer.
 */
void log_watch(void (*watch)(void *context, const char *text), void *context);

/* Fit for configuration_report_fn: logs text at error. context is ignored. */
void log_report(void *context, const char *text);

#define log_line(priority, ...) log_errno(priority, 0, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERR, __VA_ARGS__)

#endif
