/* SPDX-License-Identifier: MIT */
/* Fork after accept: the entry first, then the process, so that no worker is ever unknown. */
#include "listener/spawn.h"

#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "listener/events.h"
#include "listener/lean.h"
#include "listener/reap.h"
#include "listener/sys.h"
#include "listener/worker.h"

static void spawn_fill_entry(struct listener *listener, uint32_t slot,
			     const struct connection *connection)
{
	struct entry *entry = &listener->table->entries[slot];

	memset(&listener->shared[slot], 0, sizeof(listener->shared[slot]));
	entry->socket = connection->socket;
	entry->peer = connection->peer;
	entry->local = connection->local;
	atomic_store_explicit(&entry->start_ns, connection->start_ns, memory_order_relaxed);
	atomic_store_explicit(&entry->id, listener->next_id, memory_order_relaxed);
	atomic_store_explicit(&entry->state, ENTRY_LIVE, memory_order_release);
}

static void spawn_undo_entry(struct listener *listener, uint32_t slot)
{
	struct entry *entry = &listener->table->entries[slot];

	atomic_store_explicit(&entry->state, ENTRY_FREE, memory_order_release);
	atomic_store_explicit(&entry->id, 0, memory_order_relaxed);
	slots_give(&listener->slots, slot);
}

static void spawn_count_time(struct listener *listener, uint64_t elapsed_ns)
{
	struct totals *totals = &listener->table->totals;
	uint64_t us = elapsed_ns / (CLOCK_NS_PER_S / CLOCK_US_PER_S);
	unsigned int bucket = us == 0 ? 0 : 64u - (unsigned int)__builtin_clzll(us);

	if (bucket >= FORK_BUCKETS)
		bucket = FORK_BUCKETS - 1;
	events_count(&totals->fork_histogram[bucket], 1);
	events_count(&totals->fork_sum_us, us);
}

static void spawn_report_open(struct listener *listener, uint32_t slot, pid_t pid,
			      const struct connection *connection)
{
	const struct event event = {
		.type = EVENT_OPENED,
		.slot = slot,
		.id = listener->next_id,
		.start_ns = connection->start_ns,
		.end_ns = connection->start_ns,
		.pid = pid,
		.socket = (uint16_t)connection->socket,
		.peer = connection->peer,
		.local = connection->local,
	};

	events_put(listener, &event);
}

int spawn_worker(struct listener *listener, struct connection *connection)
{
	struct worker_call call = {
		.fd = connection->fd,
		.flags = connection->flags,
		.settings = listener->settings,
		.small = listener->lean.small,
	};
	uint64_t before_ns = clock_now_ns();
	uint32_t slot = slots_take(&listener->slots);
	pid_t pid;

	if (slot == SLOTS_NONE)
		return -EAGAIN;
	spawn_fill_entry(listener, slot, connection);
	call.slot = &listener->shared[slot];
	pid = lean_fork(&listener->lean, &call, REAP_SIGNAL, &listener->table->entries[slot].pid);
	if (pid < 0) {
		spawn_undo_entry(listener, slot);
		return pid;
	}
	spawn_count_time(listener, clock_now_ns() - before_ns);
	connection->fd = fd_close(connection->fd);
	slots_bind(&listener->slots, pid, slot);
	listener->source_of[slot] = connection->source;
	atomic_store_explicit(&listener->table->live, ++listener->live, memory_order_relaxed);
	if (listener->settings->flags & SETTINGS_REPORT_OPEN)
		spawn_report_open(listener, slot, pid, connection);
	listener->next_id++;
	return 0;
}
