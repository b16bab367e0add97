/* SPDX-License-Identifier: MIT */
/*
 * The signals that end a command or ask how it stands, and the deadline of the command, which is a
 * signal too. They are the process's, so there is one place for them: whoever waits polls
 * interrupt_fd() and asks interrupt_ended() before and after.
 */
#ifndef ECHOCTL_PROBE_INTERRUPT_H
#define ECHOCTL_PROBE_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

#include "echoctl/output/report.h"

/*
 * Blocks SIGINT, SIGTERM, SIGQUIT and SIGALRM; from now on they are told by the functions below.
 * quit_asks: SIGQUIT asks how it stands and ends nothing. deadline_us: from now, 0: none. A second
 * call does nothing. Returns 0 or -errno after saying why.
 */
int interrupt_open(const struct report *report, uint64_t deadline_us, bool quit_asks);

/* Becomes readable when a signal comes, until interrupt_ended(); -1 before interrupt_open(). */
int interrupt_fd(void);

/* Takes what has come. 0; -EINTR once a signal has ended the command, -ETIMEDOUT its deadline. */
int interrupt_ended(void);

/* Lets go of the descriptor; the signals stay blocked. */
void interrupt_close(void);

/* Whether interrupt_ended() has met a signal that asks how it stands since the last call. */
bool interrupt_asked(void);

#endif
