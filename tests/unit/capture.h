/* SPDX-License-Identifier: MIT */
/* Log lines as a test sees them: a datagram socket in the place of /dev/log. */
#ifndef ECHOD_TESTS_CAPTURE_H
#define ECHOD_TESTS_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "echod/configuration/configuration.h"

#define CAPTURE_LINE_MAX 20000

struct capture {
	char folder[64];
	char path[96];
	int fd;
};

/* Binds the socket and opens the log there as target. Asserts that it works. */
void capture_start(struct capture *capture, enum log_target target);

/* Closes and binds the socket again, as a syslog daemon that restarts does. */
void capture_stop_reader(struct capture *capture);
void capture_start_reader(struct capture *capture);

/* The next line as it came, or NULL when none waits. Static until the next call. */
const char *capture_raw(struct capture *capture);

/* The next line's text without "<PRI>stamp echod[PID]: ", or NULL; *ret_priority may be NULL. */
const char *capture_line(struct capture *capture, int *ret_priority);

void capture_end(struct capture *capture);

#endif
