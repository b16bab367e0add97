/* SPDX-License-Identifier: MIT */
/* How many connections each source has, and how fast it makes them, in bounded memory. */
#ifndef LISTENER_SOURCES_H
#define LISTENER_SOURCES_H

#include <stdint.h>

#include "base/pace.h"
#include "wire/settings.h"

#define SOURCES_NONE UINT32_MAX
#define SOURCES_IDLE 4096u	/* sources without a connection whose rate is remembered */

/* A prefix. With live == 0 it stands in the list of those that may be forgotten. */
struct source {
	uint8_t key[16];
	struct bucket bucket;
	uint32_t live;
	uint32_t next;		/* in its hash chain, or in the list of free nodes */
	uint32_t older, newer;	/* in the list of idle ones */
};

struct sources {
	const struct settings *settings;
	uint64_t seed[2];	/* a peer that knows them could fill one chain */
	uint32_t count;		/* nodes: as many as connections, and SOURCES_IDLE */
	uint32_t mask;
	uint32_t *chains;
	struct source *nodes;
	uint32_t free;
	uint32_t oldest, newest;
};

/*
 * settings outlives the table. Returns 0 or -ENOMEM.
 */
int sources_init(struct sources *sources, const struct settings *settings,
		 const uint64_t seed[2]);
void sources_release(struct sources *sources);

/*
 * One more connection from address (16 bytes, IPv4 mapped). Returns 0 and counts it in
 * *ret_source until sources_leave(); or -EUSERS (connections-per-source), -EAGAIN
 * (rate-per-source). With both limits off *ret_source is SOURCES_NONE. Constant time; a flood
 * of new sources makes the longest idle ones forgotten, never those with a connection.
 */
int sources_enter(struct sources *sources, const uint8_t address[16], uint64_t now_ns,
		  uint32_t *ret_source);

/* source may be SOURCES_NONE. */
void sources_leave(struct sources *sources, uint32_t source);

#endif
