/* SPDX-License-Identifier: MIT */
/*
 * The signals that end a command or ask how it stands. They are the process's, so there is one
 * place for them: whoever waits polls interrupt_fd() and asks interrupt_ended() before and after.
 */
#ifndef ECHOCTL_PROBE_INTERRUPT_H
#define ECHOCTL_PROBE_INTERRUPT_H

#include <stdbool.h>

#include "echoctl/output/report.h"

/*
 * Blocks SIGINT, SIGTERM and SIGQUIT; from now on they are told by the functions below. quit_asks:
 * SIGQUIT asks how it stands and ends nothing. May be called again, with the same. Returns 0 or
 * -errno after saying why.
 */
int interrupt_open(const struct report *report, bool quit_asks);

/* Becomes readable when a signal comes, until interrupt_ended(); -1 before interrupt_open(). */
int interrupt_fd(void);

/* Takes what has come. 0, or from the first signal that ends the command on -EINTR. */
int interrupt_ended(void);

/* Lets go of the descriptor; the signals stay blocked. */
void interrupt_close(void);

/* Whether interrupt_ended() has met a signal that asks how it stands since the last call. */
bool interrupt_asked(void);

#endif
