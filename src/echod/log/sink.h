/* SPDX-License-Identifier: MIT */
/* The ways out of the log: a socket of a log daemon, and standard error. None ever blocks. */
#ifndef ECHOD_LOG_SINK_H
#define ECHOD_LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#include "echod/configuration/configuration.h"

#define LOG_SINK_JOURNAL_PATH "/run/systemd/journal/socket"
#define LOG_SINK_SYSLOG_PATH "/dev/log"

struct log_sink {
	enum log_target target;		/* never LOG_TARGET_AUTO */
	const char *path;		/* of the socket, static */
	int fd;				/* owned unless STDERR_FILENO; -1: to be connected again */
	bool is_stream;			/* the socket is a stream: a NUL ends each line */
	bool is_torn;			/* the last line was given up in the middle */
	size_t sent;			/* bytes of the line that is being written */
};

/* Standard error is always open; log_sink_close() leaves it so. */
#define LOG_SINK_STDERR { .target = LOG_TARGET_STDERR, .fd = STDERR_FILENO }

/*
 * A terminal or a pipe as standard error is shared with others, and O_NONBLOCK would count for
 * them too. Opens it once more for this process, non-blocking, in the place of descriptor 2, so
 * that it lasts over execve(2). Call it while it can still be opened: before root is given up.
 */
void log_sink_own_stderr(void);

/* Returns true if standard error is what systemd names in $JOURNAL_STREAM (systemd.exec(5)). */
bool log_sink_stderr_is_journal(void);

/* The target that LOG_TARGET_AUTO means now. */
enum log_target log_sink_choose(void);

/* Opens target, for a log daemon at path. Returns 0 or -errno (connect(2)). */
int log_sink_open(enum log_target target, const char *path, struct log_sink *ret_sink);

/*
 * Writes one line as a whole. Connects again to a log daemon that went away. Returns 0; -EAGAIN if
 * the reader is slow, stopped or away: try again with the same line; another -errno: this line can
 * never be written.
 */
int log_sink_write(struct log_sink *sink, const char *line);

void log_sink_close(struct log_sink *sink);

#endif
