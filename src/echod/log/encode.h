/* SPDX-License-Identifier: MIT */
/* One log line in the form that each sink wants. Pure: no socket, no clock. */
#ifndef ECHOD_LOG_ENCODE_H
#define ECHOD_LOG_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#include "echod/log/log.h"
#include "echod/log/text.h"

#define LOG_DATAGRAM_MAX 16384	/* the largest form: a journal entry, text and fields */

/* What a line is made of. Nothing is owned. */
struct log_record {
	int priority;				/* LOG_EMERG .. LOG_DEBUG of syslog(3) */
	int facility;				/* LOG_DAEMON ... of syslog(3) */
	int error;				/* errno value that the text ends with, 0 = none */
	pid_t pid;
	time_t time;
	const char *word;			/* of log_fields(), else NULL */
	const struct log_field *fields;
	size_t field_count;
	const struct log_text *text;
};

/*
 * Each writes one whole line or entry into bytes and returns its size. What does not fit is
 * left out field by field, from the end.
 *
 * journal: fields "NAME=value\n" as of systemd's native journal protocol; no value holds a
 * newline, so the form with a length is not needed.
 */
size_t log_encode_journal(const struct log_record *record, char bytes[LOG_DATAGRAM_MAX]);

/* "<PRI>Mmm dd hh:mm:ss echod[PID]: TEXT", RFC 3164 as syslog(3) writes it to /dev/log. */
size_t log_encode_syslog(const struct log_record *record, char bytes[LOG_DATAGRAM_MAX]);

/*
 * "echod: TEXT\n" for a human. with_priority: "<N>TEXT\n" for standard error that is the
 * journal's stream, which knows the rest (sd-daemon(3)).
 */
size_t log_encode_stderr(const struct log_record *record, bool with_priority,
			 char bytes[LOG_DATAGRAM_MAX]);

#endif
