/* SPDX-License-Identifier: MIT */
/* What the listener tells the supervisor: messages, one datagram each, and events in the ring. */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "listener/listener.h"

#define STARVED_RETRY_NS 100000000u

int channel_send(struct listener *listener, enum message_type type, uint32_t value)
{
	struct message message = { .type = type, .value = value };
	ssize_t n;

	if (listener->channel_fd < 0)
		return -EPIPE;
	if (type == MESSAGE_FAILED)
		memcpy(message.text, listener->step,
		       strnlen(listener->step, sizeof(message.text) - 1));
	n = sys_send(listener->channel_fd, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT);
	return n < 0 ? (int)n : 0;
}

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

void events_note(struct listener *listener, enum event_type type, uint64_t now_ns, uint32_t detail,
		 uint32_t count)
{
	const struct event event = {
		.type = type,
		.slot = SLOTS_NONE,
		.start_ns = now_ns,
		.end_ns = now_ns,
		.detail = detail,
		.count = count,
	};

	events_put(listener, &event);
}

struct event events_about(const struct connection *connection, enum event_type type)
{
	return (struct event){
		.type = type,
		.slot = SLOTS_NONE,
		.start_ns = connection->start_ns,
		.end_ns = connection->start_ns,
		.socket = (uint16_t)connection->socket,
		.peer = connection->peer,
		.via = connection->via,
		.local = connection->local,
		.unique_id = connection->unique_id,
		.is_multipath = connection->is_multipath,
	};
}

void events_starve(struct listener *listener, int error, uint64_t now_ns)
{
	struct starvation *starvation = &listener->starvation;

	assert(error < 0);
	starvation->retry_ns = now_ns + STARVED_RETRY_NS;
	starvation->count++;
	events_count(&listener->table->totals.starved, 1);
	if (now_ns < starvation->report_ns)
		return;
	events_note(listener, EVENT_STARVED, now_ns, (uint32_t)-error, starvation->count);
	starvation->count = 0;
	starvation->report_ns = now_ns + CLOCK_NS_PER_S;
}
