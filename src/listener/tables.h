/* SPDX-License-Identifier: MIT */
/*
 * What a listener looks up for each connection, in constant time and in memory that no worker
 * inherits: which slot is free, which slot a process has, and the connections and rate of each
 * source.
 */
#ifndef LISTENER_TABLES_H
#define LISTENER_TABLES_H

#include <stddef.h>
#include <stdint.h>

#include "base/pace.h"
#include "wire/settings.h"

#define SLOTS_NONE UINT32_MAX
#define SOURCES_NONE 0u
#define SOURCES_IDLE 4096u	/* sources without a connection whose rate is remembered */

/* Zeroed memory for the life of the process, which no fork copies; NULL if there is none. */
void *tables_memory(size_t size);

/* The worker that has a slot. */
struct holder {
	int32_t pid;
	uint32_t next;		/* slot + 1, in its hash chain or the stack of free ones; 0: none */
	uint64_t proof;		/* as in struct worker_call */
	uint32_t source;	/* as of sources_enter() */
};

struct slots {
	uint32_t count;
	uint32_t used;		/* slots from here on were never used */
	uint32_t free;		/* a stack: the slot freed last is still in the cache */
	uint32_t mask;
	uint32_t *chains;	/* by process id */
	struct holder *holders;	/* of each slot */
};

/* All count slots are free. Returns 0 or -ENOMEM. */
int slots_init(struct slots *slots, uint32_t count);

/* A free slot, the lowest first of those never used, or SLOTS_NONE. */
uint32_t slots_take(struct slots *slots);
void slots_give(struct slots *slots, uint32_t slot);

/* pid > 0 holds slot from now on; a slot has at most one pid. */
void slots_bind(struct slots *slots, int32_t pid, uint32_t slot);

/* Forgets pid and returns its slot, or SLOTS_NONE if it has none. */
uint32_t slots_unbind(struct slots *slots, int32_t pid);

/* A prefix. With live == 0 it is in the ring of those that may be forgotten. */
struct source {
	uint8_t key[16];
	struct bucket bucket;
	uint32_t live;
	uint32_t next;		/* in its hash chain */
	uint32_t older, newer;	/* in the ring of idle ones */
};

struct sources {
	const struct settings *settings;
	uint64_t seed[2];	/* a peer that knows them could fill one chain */
	uint32_t count;		/* nodes: as many as connections, and SOURCES_IDLE */
	uint32_t used;		/* nodes behind it were never used */
	uint32_t mask;
	uint32_t *chains;
	struct source *nodes;	/* the first is the ring's end: between newest and oldest */
};

/* settings outlives the table. Returns 0, -ENOMEM or -errno of getrandom(2). */
int sources_init(struct sources *sources, const struct settings *settings);

/*
 * One more connection from address (16 bytes, IPv4 mapped). Returns 0 and counts it in *ret_source
 * until sources_leave(); or -EUSERS (connections-per-source), -EAGAIN (rate-per-source). With both
 * limits off *ret_source is SOURCES_NONE. Constant time; after a flood of new sources those that
 * were idle longest are forgotten, never those with a connection.
 */
int sources_enter(struct sources *sources, const uint8_t address[16], uint64_t now_ns,
		  uint32_t *ret_source);

/* source may be SOURCES_NONE. */
void sources_leave(struct sources *sources, uint32_t source);

#endif
