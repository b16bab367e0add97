/* SPDX-License-Identifier: MIT */
/* Re-execution: the program on disk takes over the sockets, the children and the counters. */
#ifndef ECHOD_HANDOVER_GIVE_H
#define ECHOD_HANDOVER_GIVE_H

#include <stdbool.h>

#include "echod/state/state.h"

/*
 * Raised when a member of the state changes its meaning or a new one has to be there; for those of
 * a generation a new WIRE_VERSION does as well, since one of another version is not read.
 * "sockets", and "pid" and "channel" of each generation never change: of a state of another
 * version they are what a program takes.
 */
#define HANDOVER_VERSION 2

/* Remembers which program runs here, and how it was called (argv must live on). */
void handover_remember_program(char **argv);

/* True when another program stands at the path of the one that runs. */
bool handover_is_due(void);

/*
 * Replaces this program by the one on disk: same process, same children. Returns only when
 * that failed, -errno (logged); nothing has changed then.
 */
int handover_execute(struct supervisor *supervisor);

/* The state that was handed to this program (the caller owns the descriptor), or -1. */
int handover_take(void);

/*
 * Fills a supervisor that has its loop from the state: generations, sockets, counters, and the
 * configuration that was in force. Of a state of another version it takes the sockets, and lets
 * the old generations drain. Returns 0 or -errno (logged).
 */
int handover_restore(struct supervisor *supervisor, int state_fd);

#endif
