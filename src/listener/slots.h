/* SPDX-License-Identifier: MIT */
/* Which slot is free, and which one a process id has: both in constant time. */
#ifndef LISTENER_SLOTS_H
#define LISTENER_SLOTS_H

#include <stdint.h>

#define SLOTS_NONE UINT32_MAX

struct slots_pid {
	int32_t pid;		/* 0: empty cell */
	uint32_t slot;
};

struct slots {
	uint32_t count;
	uint32_t free_count;
	uint32_t *free;		/* a stack: the slot freed last is still in the cache */
	uint32_t mask;		/* cells of the hash, a power of two, less one */
	struct slots_pid *pids;	/* open addressing, linear probing, at most half full */
};

/* All count slots are free. Returns 0 or -ENOMEM. */
int slots_init(struct slots *slots, uint32_t count);
void slots_release(struct slots *slots);

/* A free slot, the lowest first of those never used, or SLOTS_NONE. */
uint32_t slots_take(struct slots *slots);
void slots_give(struct slots *slots, uint32_t slot);

/* pid > 0 holds slot from now on. At most one pid a slot that was taken. */
void slots_bind(struct slots *slots, int32_t pid, uint32_t slot);

/* Forgets pid and returns its slot, or SLOTS_NONE when it has none. */
uint32_t slots_unbind(struct slots *slots, int32_t pid);

#endif
