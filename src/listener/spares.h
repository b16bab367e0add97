/* SPDX-License-Identifier: MIT */
/*
 * Spare workers: forked ahead, each waits for one connection on a socket pair of its own. The
 * listener accepts, judges and passes the connection on, so that limits and accounting are the
 * same as after a fork and no worker ever holds a listening socket.
 */
#ifndef LISTENER_SPARES_H
#define LISTENER_SPARES_H

#include <stdbool.h>
#include <stdint.h>

#define SPARES_NONE UINT32_MAX

struct listener;
struct connection;

/* A socket pair. It is used again once its spare has taken what was sent. */
struct spare_pair {
	int ours;
	int theirs;
	uint32_t slot;		/* of the worker that it was forked with; SLOTS_NONE */
};

/* A queue of pairs, first in, first out: the spare that has waited longest surely waits. */
struct spare_queue {
	uint32_t *pairs;
	uint32_t first;
	uint32_t count;
};

struct spares {
	uint32_t target;		/* settings->spare_workers */
	uint32_t count;			/* pairs: a few more */
	struct spare_pair *pairs;
	uint32_t *pair_of;		/* of each slot, SPARES_NONE */
	struct spare_queue waiting;	/* with a spare */
	struct spare_queue idle;	/* without; a message may still be on its way */
	uint64_t retry_ns;		/* no fork before; 0: at once */
	uint64_t backoff_ns;		/* after the next death of a spare */
};

/* Makes the pairs (descriptors, close-on-exec). Returns 0 or -errno. */
int spares_open(struct listener *listener);

/* The highest descriptor in use, -1 without spares. */
int spares_highest_fd(const struct listener *listener);

/*
 * Gives connection to a spare and closes it here. Returns 0; -ENOENT when none waits, another
 * -errno when it could not be sent: then nothing has changed.
 */
int spares_hand_over(struct listener *listener, struct connection *connection);

/*
 * Forks one that is missing; nothing while stopping or backing off. To be called when there is
 * nothing else to do: while connections wait, forking for them costs less than forking ahead.
 */
void spares_replenish(struct listener *listener);

/* When spares_replenish() wants to be called: 0 at once, UINT64_MAX not, else CLOCK_MONOTONIC. */
uint64_t spares_due_ns(const struct listener *listener);

/* The worker of slot was reaped; true when it was a spare that never had a connection. */
bool spares_reaped(struct listener *listener, uint32_t slot);

/* Ends all spares: they see the end of their pair. */
void spares_close(struct listener *listener);

#endif
