/* SPDX-License-Identifier: MIT */
/* The ways out of the log: two datagram sockets and standard error. None of them ever blocks. */
#ifndef ECHOD_LOG_SINK_H
#define ECHOD_LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>

#include "echod/configuration/configuration.h"

#define LOG_SINK_JOURNAL_PATH "/run/systemd/journal/socket"
#define LOG_SINK_SYSLOG_PATH "/dev/log"

struct log_sink {
	enum log_target target;		/* never LOG_TARGET_AUTO */
	const char *path;		/* of the datagram socket, static */
	int fd;				/* owned unless STDERR_FILENO; -1: to be connected again */
	bool with_priority;		/* standard error is the journal's stream */
	bool is_torn;			/* the last line on standard error was not written whole */
};

/* True when standard error is what systemd names in $JOURNAL_STREAM (systemd.exec(5)). */
bool log_sink_stderr_is_journal(void);

/* What LOG_TARGET_AUTO is here and now. */
enum log_target log_sink_choose(void);

/* Opens target, for a datagram target at path. Returns 0 or -errno (connect(2)). */
int log_sink_open(enum log_target target, const char *path, struct log_sink *ret_sink);

/*
 * One line, whole. Returns 0; -EAGAIN: not now, the reader is slow, stopped or away (a socket
 * whose reader went away is connected again first); another -errno: this line never.
 */
int log_sink_write(struct log_sink *sink, const char *bytes, size_t size);

/* Waits until a line may be written again, at most timeout_ms. */
void log_sink_wait(const struct log_sink *sink, int timeout_ms);

void log_sink_close(struct log_sink *sink);

#endif
