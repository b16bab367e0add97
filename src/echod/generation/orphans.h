/* SPDX-License-Identifier: MIT */
/* The workers of a listener that died: found by process id, accounted by the supervisor. */
#ifndef ECHOD_GENERATION_ORPHANS_H
#define ECHOD_GENERATION_ORPHANS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "echod/generation/scoreboard.h"

struct orphan {
	pid_t pid;
	uint32_t slot;
	bool ended;
};

/* Sorted by process id. */
struct orphans {
	struct orphan *items;
	uint32_t count;
	uint32_t live;		/* those that have not ended */
};

/*
 * Lists every worker that the dead listener's table names and whose end was not in its ring
 * (which has to be drained before), and frees the entries of the others that pass for live. Returns
 * 0 or -ENOMEM; the caller frees it.
 */
int orphans_list(const struct scoreboard *scoreboard, struct orphans *ret_orphans);

/* The orphan with this process id that has not ended, or NULL. */
struct orphan *orphans_find(const struct orphans *orphans, pid_t pid);

/*
 * Makes the event that the listener would have sent. has_status: false when the listener had
 * taken the exit status with it.
 */
void orphan_event(const struct scoreboard *scoreboard, const struct orphan *orphan,
		  bool has_status, int status, const struct rusage *usage, uint64_t now_ns,
		  struct event *ret_event);

void orphans_release(struct orphans *orphans);

#endif
