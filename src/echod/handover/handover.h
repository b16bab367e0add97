/* SPDX-License-Identifier: MIT */
/* Re-execution: the program on disk takes over the sockets, the children and the counters. */
#ifndef ECHOD_HANDOVER_HANDOVER_H
#define ECHOD_HANDOVER_HANDOVER_H

#include <stdbool.h>

#include "echod/state/state.h"

/* Remembers which program runs here, and how it was called (argv must live on). */
void handover_remember_program(char **argv);

/* True if another program is at the path of the one that runs. */
bool handover_is_due(void);

/*
 * Replaces this program by the one on disk; process and children stay. Waits up to five seconds for
 * the rehearsal. Returns only if that or exec(3) failed, -errno (logged); nothing has changed then.
 */
int handover_execute(struct supervisor *supervisor);

/* The block that was handed to this program (the caller owns the descriptor), or -1. */
int handover_take(void);

/*
 * Fills a supervisor that has its loop from the block: generations, sockets, counters, and the
 * configuration that was in force. *ret_is_rehearsal is set on failure too if the block could be
 * read that far: then this process is a child that has to end and to leave everything as it is.
 * Returns 0 or -errno (logged).
 */
int handover_restore(struct supervisor *supervisor, int block_fd, bool *ret_is_rehearsal);

#endif
