/* SPDX-License-Identifier: MIT */
/*
 * The signals that end a command or ask how it stands, and the deadline of the command, which is a
 * signal too. They are the process's, so there is one place for them: whoever waits polls
 * interrupt_fd() and asks interrupt_ended() before and after.
 */
#ifndef ECHOCTL_PROBE_INTERRUPT_H
#define ECHOCTL_PROBE_INTERRUPT_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "echoctl/output/report.h"

/*
 * Blocks SIGINT, SIGTERM, SIGQUIT, SIGALRM, SIGCHLD and SIGCONT; from now on they are told by the
 * functions below. quit_asks: SIGQUIT asks how it stands and ends nothing. deadline_us: from now,
 * 0: none. A second call does nothing. Returns 0 or -errno after saying why.
 */
int interrupt_open(const struct report *report, uint64_t deadline_us, bool quit_asks);

/* Becomes readable when a signal comes, until interrupt_ended(); -1 before interrupt_open(). */
int interrupt_fd(void);

/*
 * Waits for polls[0] to polls[n - 1], a signal (the end of a child is one), or wake_ns of
 * CLOCK_MONOTONIC. polls has room for n + 1. Returns how many are ready, a signal included; 0 if
 * nothing is, and revents means nothing then; -errno of ppoll(2).
 */
int interrupt_poll(struct pollfd *polls, nfds_t n, uint64_t wake_ns);

/* Takes what has come. 0; -EINTR once a signal has ended the command, -ETIMEDOUT its deadline. */
int interrupt_ended(void);

/* Lets go of the descriptor; the signals stay blocked. */
void interrupt_close(void);

/* Whether interrupt_ended() has met a signal that asks how it stands since the last call. */
bool interrupt_asked(void);

/* Whether it has met SIGCONT since the last call: the process was stopped by job control. */
bool interrupt_continued(void);

#endif
