/* SPDX-License-Identifier: MIT */
/* One line of the log: escaped while it is put together, written in the form of a sink. Pure. */
#ifndef ECHOD_LOG_RECORD_H
#define ECHOD_LOG_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

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

/* Appends ": strerror(error)" and, for the journal, the number; error is positive. */
void log_record_error(struct log_record *record, int error);

/*
 * Appends " name=value", for the journal ECHOD_NAME=value; "bytes-in" is ECHOD_BYTES_IN. The
 * value is cut to 1023 bytes and escaped; an empty one, or one with a space or quote, is quoted.
 */
void log_record_add(struct log_record *record, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Appends " errno=NAME error=TEXT", of an unknown error the number alone. */
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

#endif
