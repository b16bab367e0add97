/* SPDX-License-Identifier: MIT */
/* Event records into the ring of the table: never blocks, drops and counts when it is full. */
#ifndef LISTENER_EVENTS_H
#define LISTENER_EVENTS_H

#include "listener/state.h"
#include "wire/event.h"

/* Appends a copy; wakes the supervisor when it has said that it sleeps. */
void events_put(struct listener *listener, const struct event *event);

/* A counter of the totals, which only the listener writes. */
static inline void events_count(_Atomic uint64_t *counter, uint64_t more)
{
	uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);

	/* Whoever sees that a connection has ended sees that it was accepted, too. */
	atomic_store_explicit(counter, old + more, memory_order_release);
}

/* Accepted and closed at once. */
void events_put_refused(struct listener *listener, const struct connection *connection,
			enum refuse_reason reason);

/*
 * Something is short (error is a negative errno): no accept until a worker has ended or 100 ms
 * are over. Said once a second at most, with the count.
 */
void events_starve(struct listener *listener, int error, uint64_t now_ns);

/* The connection limit: reached or left. */
void events_note_limit(struct listener *listener, bool is_reached);

#endif
