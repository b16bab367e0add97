/* SPDX-License-Identifier: MIT */
/* The producer's side of the ring, and the events that are not the end of a worker. */
#include "listener/events.h"

#include <assert.h>

#include "base/clock.h"
#include "listener/channel.h"

#define STARVED_RETRY_NS 100000000u

void events_put(struct listener *listener, const struct event *event)
{
	struct table *table = listener->table;
	uint64_t head = atomic_load_explicit(&table->ring_head, memory_order_relaxed);
	uint64_t tail = atomic_load_explicit(&table->ring_tail, memory_order_acquire);

	if (head - tail >= RING_EVENTS) {
		events_count(&table->totals.events_dropped, 1);
	} else {
		table->ring[head % RING_EVENTS] = *event;
		atomic_store_explicit(&table->ring_head, head + 1, memory_order_release);
	}
	if (atomic_exchange(&table->asleep, 0) == 1 &&
	    channel_send(listener, MESSAGE_WAKE, 0) < 0)
		atomic_store(&table->asleep, 1);
}

void events_put_refused(struct listener *listener, const struct connection *connection,
			enum refuse_reason reason)
{
	struct event event = {
		.type = EVENT_REFUSED,
		.slot = SLOTS_NONE,
		.start_ns = connection->start_ns,
		.end_ns = connection->start_ns,
		.reason = (uint16_t)reason,
		.socket = (uint16_t)connection->socket,
		.peer = connection->peer,
		.local = connection->local,
	};

	assert(reason < REFUSE_COUNT);
	events_count(&listener->table->totals.refused[reason], 1);
	events_put(listener, &event);
}

void events_starve(struct listener *listener, int error, uint64_t now_ns)
{
	struct starvation *starvation = &listener->starvation;

	assert(error < 0);
	starvation->retry_ns = now_ns + STARVED_RETRY_NS;
	starvation->error = -error;
	starvation->count++;
	events_count(&listener->table->totals.starved, 1);
	if (now_ns >= starvation->report_ns) {
		struct event event = {
			.type = EVENT_STARVED,
			.slot = SLOTS_NONE,
			.start_ns = now_ns,
			.end_ns = now_ns,
			.detail = (uint32_t)starvation->error,
			.count = starvation->count,
		};

		events_put(listener, &event);
		starvation->count = 0;
		starvation->report_ns = now_ns + CLOCK_NS_PER_S;
	}
}

void events_note_limit(struct listener *listener, bool is_reached)
{
	uint64_t now_ns = clock_now_ns();
	struct event event = {
		.type = EVENT_LIMIT,
		.slot = SLOTS_NONE,
		.start_ns = now_ns,
		.end_ns = now_ns,
		.detail = listener->settings->connections,
		.count = is_reached ? 1 : 0,
	};

	listener->is_at_limit = is_reached;
	events_put(listener, &event);
}
