/* SPDX-License-Identifier: MIT */
/*
 * The signals that end a command or ask for its state, and the deadline of the command, which is a
 * signal, too. Signals belong to the process, so all of it is here: every wait is interrupt_poll(),
 * with interrupt_ended() before and after.
 */
#ifndef ECHOCTL_PROBE_INTERRUPT_H
#define ECHOCTL_PROBE_INTERRUPT_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "echoctl/output/report.h"

/*
 * Blocks SIGINT, SIGTERM, SIGQUIT, SIGALRM, SIGCHLD and SIGCONT; from now on the functions below
 * report them. quit_asks: SIGQUIT asks for the state and ends nothing. deadline_us: from now, 0:
 * none. A second call does nothing. Returns 0 or -errno after saying why.
 */
int interrupt_open(const struct report *report, uint64_t deadline_us, bool quit_asks);

/*
 * Waits for polls[0] to polls[n - 1], a signal (the end of a child is one), or wake_ns of
 * CLOCK_MONOTONIC. polls must have room for n + 1. Returns how many are ready, a signal included; 0
 * if nothing is, and revents means nothing then; -errno of ppoll(2).
 */
int interrupt_poll(struct pollfd *polls, nfds_t n, uint64_t wake_ns);

/*
 * Takes signals that have come. Returns 0; -EINTR once a signal has ended the command, -ETIMEDOUT
 * once its deadline has.
 */
int interrupt_ended(void);

/* Closes the descriptor; the signals stay blocked. */
void interrupt_close(void);

/* Whether interrupt_ended() has taken a signal that asks for the state since the last call. */
bool interrupt_asked(void);

/* Whether it has met SIGCONT since the last call: the process was stopped by job control. */
bool interrupt_continued(void);

#endif
