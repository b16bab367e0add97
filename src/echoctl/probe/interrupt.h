/* SPDX-License-Identifier: MIT */
/* The signals that end a measurement or ask how it stands, as a descriptor to poll. */
#ifndef ECHOCTL_PROBE_INTERRUPT_H
#define ECHOCTL_PROBE_INTERRUPT_H

/*
 * Blocks SIGINT, SIGTERM and SIGQUIT and returns a non-blocking, close-on-exec descriptor that
 * tells of them (signalfd(2)); the caller owns it. -errno on failure.
 */
int interrupt_open(void);

/* The next signal that has come; 0 when there is none. */
int interrupt_take(int fd);

#endif
