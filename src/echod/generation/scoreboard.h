/* SPDX-License-Identifier: MIT */
/* The supervisor's side of a scoreboard: makes it, reads its ring, commands its workers. */
#ifndef ECHOD_GENERATION_SCOREBOARD_H
#define ECHOD_GENERATION_SCOREBOARD_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/scoreboard.h"

struct scoreboard {
	int table_fd;		/* owned */
	int slots_fd;		/* owned */
	int commands_fd;	/* owned */
	uint32_t slots;		/* entries in each; the supervisor's own, never re-read */
	uint32_t words;		/* the same, but a stranger's too, which has no slots for us */
	struct table *table;	/* of a stranger only its front */
	struct slot *slot;	/* NULL: a stranger's */
	_Atomic uint64_t *command;	/* nobody else writes it */
	uint64_t *closed_id;	/* by slot: the last connection whose end was seen in the ring */
	uint64_t *told_ns;	/* by slot: when it was told to end first */
};

#define SCOREBOARD_NONE \
	((struct scoreboard){ .table_fd = -1, .slots_fd = -1, .commands_fd = -1 })

typedef void (*scoreboard_event_fn)(void *context, const struct event *event);

/*
 * Makes the memory files, sealed against a change of their size (a worker that shrank one
 * would otherwise kill the readers by SIGBUS). Returns 0 or -errno.
 */
int scoreboard_create(uint32_t slots, struct scoreboard *ret_scoreboard);

/*
 * Maps the scoreboard that these descriptors hold and takes them over if it returns 0. is_stranger:
 * it is of another WIRE_VERSION. -EBADF: they are no such files, or have not the right size.
 */
int scoreboard_adopt(int table_fd, int slots_fd, int commands_fd, bool is_stranger,
		     struct scoreboard *ret_scoreboard);

/* A descriptor of the commands that can never write them, the caller's; or -errno. */
int scoreboard_open_commands(const struct scoreboard *scoreboard);

void scoreboard_release(struct scoreboard *scoreboard);

/*
 * Hands at most RING_EVENTS waiting events to on_event (which gets copies); returns how many. Those
 * of a stranger are thrown away.
 */
unsigned scoreboard_drain(struct scoreboard *scoreboard, scoreboard_event_fn on_event,
			  void *context);

/* Events that wait, as far as the listener can be trusted with its own ring. */
uint64_t scoreboard_waiting(const struct scoreboard *scoreboard);

/*
 * Asks the listener for MESSAGE_WAKE at its next event. False when an event came in between:
 * the ring has to be drained again.
 */
bool scoreboard_sleep(struct scoreboard *scoreboard);

/* Workers with a connection, as the listener counts them. */
uint32_t scoreboard_live(const struct scoreboard *scoreboard);

/*
 * The peer's address (16 bytes, IPv4 mapped) of the connection that has this slot; returns its
 * id, 0 when there is no connection, or one without an address.
 */
uint64_t scoreboard_peer(const struct scoreboard *scoreboard, uint32_t slot,
			 uint8_t ret_address[16]);

/*
 * Tells the worker of this slot how to end and sends it signal. id: only if it has this
 * connection; 0: whichever it has. Returns 0, -ESRCH if there is no such worker (any more), or
 * -errno (EMFILE).
 */
int scoreboard_end_worker(struct scoreboard *scoreboard, uint32_t slot, uint64_t id,
			  enum slot_command command, int signal);

#endif
