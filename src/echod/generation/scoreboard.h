/* SPDX-License-Identifier: MIT */
/* The supervisor's side of a scoreboard: makes it, reads its ring, commands its workers. */
#ifndef ECHOD_GENERATION_SCOREBOARD_H
#define ECHOD_GENERATION_SCOREBOARD_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/scoreboard.h"

/* What the supervisor knows of a slot. */
struct slot_note {
	uint64_t closed_id;	/* the last connection whose end was seen in the ring */
	uint64_t told_ns;	/* when its worker was told to end first */

	/* The connection as sampled once a second, so that no worker needs a clock for it. */
	uint64_t id;		/* within its generation; 0: none was seen */
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t rate_in;	/* bytes a second */
	uint64_t rate_out;
	uint64_t moved_ns;	/* when it last moved a byte; CLOCK_MONOTONIC, to the second */
};

struct scoreboard {
	int table_fd;		/* owned */
	int slots_fd;		/* owned */
	int commands_fd;	/* owned */
	uint32_t slots;		/* entries in each; the supervisor's own, never re-read */
	uint32_t words;		/* the same; known for a stranger too */
	struct table *table;	/* of a stranger only the part before the ring */
	struct datagrams *datagrams;	/* in the table's file; NULL: a stranger's that has none */
	struct slot *slot;	/* NULL: a stranger's */
	_Atomic uint64_t *command;	/* only the supervisor writes it */
	struct slot_note *notes;	/* by slot */
	uint64_t noted_ns;	/* when connections were looked at, CLOCK_MONOTONIC */
};

/* Starts one. */
#define SCOREBOARD_NONE \
	((struct scoreboard){ .table_fd = -1, .slots_fd = -1, .commands_fd = -1 })

typedef void (*scoreboard_event_fn)(void *context, const struct event *event);

/*
 * Makes the memory files, sealed against a change of their size (a worker that shrank one
 * would otherwise kill the readers by SIGBUS). Returns 0 or -errno; the caller releases it.
 */
int scoreboard_create(struct scoreboard *scoreboard, uint32_t slots);

/*
 * Maps the memory files whose descriptors are set. is_stranger: they are of another WIRE_VERSION.
 * Returns 0, -ENOMEM, or -EBADF if they are other files or have a wrong size.
 */
int scoreboard_map(struct scoreboard *scoreboard, bool is_stranger);

void scoreboard_release(struct scoreboard *scoreboard);

/*
 * Hands at most RING_EVENTS waiting events to on_event (which gets copies); returns how many.
 * Throws those of a stranger away.
 */
unsigned scoreboard_drain(struct scoreboard *scoreboard, scoreboard_event_fn on_event,
			  void *context);

/* Number of events that wait, at most RING_EVENTS whatever the listener wrote. */
uint64_t scoreboard_waiting(const struct scoreboard *scoreboard);

/*
 * Asks the listener for MESSAGE_WAKE at its next event. Returns false if an event came in between:
 * the ring has to be drained again.
 */
bool scoreboard_sleep(struct scoreboard *scoreboard);

/* Workers with a connection, as the listener counts them. */
uint32_t scoreboard_live(const struct scoreboard *scoreboard);

/* Samples the counters of all connections, of which live are alive; to be called once a second. */
void scoreboard_note(struct scoreboard *scoreboard, uint32_t live, uint64_t now_ns);

/*
 * The peer's address (16 bytes, IPv4 mapped) of the connection that has this slot; returns its
 * id, 0 if there is no connection, or one without an address.
 */
uint64_t scoreboard_peer(const struct scoreboard *scoreboard, uint32_t slot,
			 uint8_t ret_address[16]);

/*
 * Tells the worker of this slot how to end and sends it signal. id: only if it serves this
 * connection; 0: any. Returns 0, -ESRCH if there is no such worker (any more), or -errno (EMFILE).
 */
int scoreboard_end_worker(struct scoreboard *scoreboard, uint32_t slot, uint64_t id,
			  enum slot_command command, int signal);

#endif
