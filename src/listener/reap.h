/* SPDX-License-Identifier: MIT */
/* Workers that have ended: waited for, accounted, reported. */
#ifndef LISTENER_REAP_H
#define LISTENER_REAP_H

#include "listener/state.h"

/*
 * A worker's end is told by this real-time signal and not by SIGCHLD: real-time signals queue,
 * each with the process id, so that one can wait for that one process. wait4(-1) walks along all
 * children of the caller, which takes a millisecond with 10,000 of them.
 */
#define REAP_SIGNAL (SIGRTMIN)

/* Blocks REAP_SIGNAL and returns a descriptor (close-on-exec, non-blocking) to read it from, or
 * -errno. */
int reap_open(void);

/* Reaps those whose records wait in signal_fd, a bounded number a call. */
void reap_signalled(struct listener *listener);

/* Reaps all that have ended, whether a signal told or not: its cost grows with live workers. */
void reap_all(struct listener *listener);

#endif
