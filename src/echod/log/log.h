/* SPDX-License-Identifier: MIT */
/* The daemon's log: journal, syslog or standard error. Never blocks. */
#ifndef ECHOD_LOG_LOG_H
#define ECHOD_LOG_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <syslog.h>
#include <time.h>

#include "echod/configuration/configuration.h"

/*
 * Before log_open() lines go to standard error. Opens what target says; auto: journal if
 * standard error is the journal's stream ($JOURNAL_STREAM), stderr if it is a terminal or syslog
 * cannot be reached, else syslog. Returns 0 or -errno; on failure the old target stays.
 */
int log_open(enum log_target target, int facility);

/* The same with the socket of a log daemon at path (static): for tests. */
int log_open_at(enum log_target target, int facility, const char *path);

/*
 * Writes lines that wait for their sink. Returns false if some still wait: call again soon (100
 * ms). Each new line does the same; this is for a daemon that falls silent.
 */
bool log_flush(void);

/* Gives waiting lines half a second, then closes; later lines go to standard error. */
void log_close(void);

/*
 * While the daemon starts, errors that go to syslog are also written to standard error, because a
 * user whose daemon fails looks there. Not for --inetd: standard error may be the peer.
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

/* Lines that a sink could not take (socket full, journal stopped) since the start. */
uint64_t log_lost(void);

/* What another program needs to go on with this log. */
struct log_state {
	enum log_target target;		/* never LOG_TARGET_AUTO */
	uint64_t lost;			/* log_lost() */
	uint64_t lost_unsaid;		/* those that no line has reported yet */
	bool is_torn;			/* the last line was not written to its end */
	const char *lines;		/* lines that wait, each with its NUL; not owned */
	size_t size;			/* of them all */
};

/* The lines are valid until the next call that logs. */
void log_save(struct log_state *ret_state);

/*
 * Continues a saved log; for a program that has not opened another one. Lines that find no room are
 * lost.
 */
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

/* Below: lines that are built field by field, and escaped on the way. */

/* With prefix and newline a line stays below PIPE_BUF: one write, never torn (pipe(7)). */
#define LOG_TEXT_MAX 3968
#define LOG_FORM_MAX (2 * LOG_TEXT_MAX + 512)	/* the largest form: a journal entry */

/* Always NUL-terminated and valid UTF-8. */
struct log_text {
	size_t size;			/* without the NUL */
	bool is_full;			/* something did not fit: the text ends in "..." */
	char bytes[LOG_TEXT_MAX + 1];
};

struct log_record {
	int priority;			/* LOG_EMERG .. LOG_DEBUG of syslog(3) */
	int facility;			/* LOG_DAEMON ... of syslog(3) */
	pid_t pid;
	time_t time;
	struct log_text text;		/* what a reader sees */
	struct log_text fields;		/* "NAME=value\n" each, for the journal */
};

/*
 * Starts a line with this word (of echod(8), not escaped) and its MESSAGE_ID. NULL: a line of
 * plain text.
 */
void log_record_begin(struct log_record *record, int priority, const char *word);

/*
 * Appends plain text. Control characters (C0, DEL, C1), backslashes and bytes that are not UTF-8
 * (RFC 3629) become \xNN, so that one line stays one line and the form is unambiguous.
 */
void log_record_text(struct log_record *record, const char *text);

/* Adds ERRNO=error for the journal; error is positive. */
void log_record_number(struct log_record *record, int error);

/*
 * Appends " name=value", for the journal ECHOD_NAME=value; "bytes-in" is ECHOD_BYTES_IN. The
 * value is cut to 1023 bytes and escaped; an empty one, or one with a space or quote, is quoted.
 */
void log_record_add(struct log_record *record, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with a value of size bytes, NUL may be among them. */
void log_record_add_bytes(struct log_record *record, const char *name, const void *value,
			  size_t size);

/* Makes text of bytes by the rules of log_record_text(). */
void log_escape(const void *bytes, size_t size, struct log_text *ret_text);

/* Appends " errno=NAME error=TEXT", of an unknown error only the number. */
void log_record_add_errno(struct log_record *record, unsigned error);

/*
 * Each writes one whole line or entry.
 *
 * journal: systemd's native journal protocol. No value holds a newline, so the form with a
 * length is not needed.
 */
void log_record_to_journal(const struct log_record *record, char line[LOG_FORM_MAX]);

/* "<PRI>Mmm dd hh:mm:ss echod[PID]: TEXT", RFC 3164 as syslog(3) writes it to /dev/log. */
void log_record_to_syslog(const struct log_record *record, char line[LOG_FORM_MAX]);

/*
 * "echod: TEXT\n" for a human. with_priority: "<N>TEXT\n" for standard error that is the
 * journal's stream, which knows the rest (sd-daemon(3)).
 */
void log_record_to_stderr(const struct log_record *record, bool with_priority,
			  char line[LOG_FORM_MAX]);

/* Writes the line. */
void log_record(struct log_record *record);

#endif
