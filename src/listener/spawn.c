/* SPDX-License-Identifier: MIT */
/* Forking workers. */
#include "listener/spawn.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/sys.h"
#include "listener/events.h"
#include "listener/lean.h"
#include "listener/reap.h"
#include "listener/state.h"
#include "worker/worker.h"

static void spawn_fill_entry(struct listener *listener, uint32_t slot,
			     const struct connection *connection)
{
	struct entry *entry = &listener->table->entries[slot];

	entry->socket = connection->socket;
	entry->peer = connection->peer;
	entry->local = connection->local;
	atomic_store_explicit(&entry->start_ns, connection->start_ns, memory_order_relaxed);
	atomic_store_explicit(&entry->id, listener->next_id, memory_order_relaxed);
	atomic_store_explicit(&entry->state, ENTRY_LIVE, memory_order_release);
}

void spawn_set_live(struct listener *listener, uint32_t live)
{
	listener->live = live;
	atomic_store_explicit(&listener->table->live, live, memory_order_relaxed);
}

static void spawn_count_time(struct listener *listener, uint64_t elapsed_ns)
{
	struct totals *totals = &listener->table->totals;
	uint64_t us = elapsed_ns / (CLOCK_NS_PER_S / CLOCK_US_PER_S);

	events_count(&totals->fork_histogram[histogram_bucket(us, FORK_BUCKETS)], 1);
	events_count(&totals->fork_sum_us, us);
}

/* Returns 0 when there is none. */
static uint64_t spawn_random(struct listener *listener)
{
	if (listener->random_left == 0) {
		const size_t size = RANDOM_WORDS * sizeof(*listener->random);

		if (sys_random(listener->random, size) != (ssize_t)size)
			return 0;
		listener->random_left = RANDOM_WORDS;
	}
	return listener->random[--listener->random_left];
}

/* The entry of slot is filled. On failure it is free again. */
static int spawn_fork(struct listener *listener, uint32_t slot, int fd, uint32_t flags)
{
	struct entry *entry = &listener->table->entries[slot];
	struct worker_call call = {
		.fd = fd,
		.flags = flags | listener->worker_flags,
		.slot = &listener->shared[slot],
		.command = &listener->commands[slot],
		.settings = listener->settings,
		.small = listener->lean.small,
		.proof = spawn_random(listener),
	};
	uint64_t before_ns = clock_now_ns();
	pid_t pid;

	memset(call.slot, 0, sizeof(*call.slot));
	pid = lean_fork(&listener->lean, &call, REAP_SIGNAL, &entry->pid);
	if (pid < 0) {
		atomic_store_explicit(&entry->state, ENTRY_FREE, memory_order_release);
		atomic_store_explicit(&entry->id, 0, memory_order_relaxed);
		slots_give(&listener->slots, slot);
		return pid;
	}
	listener->holders[slot].proof = call.proof;
	slots_bind(&listener->slots, pid, slot);
	spawn_count_time(listener, clock_now_ns() - before_ns);
	return 0;
}

static void spawn_report_open(struct listener *listener, uint32_t slot,
			      const struct connection *connection)
{
	const struct event event = {
		.type = EVENT_OPENED,
		.slot = slot,
		.id = listener->next_id,
		.start_ns = connection->start_ns,
		.end_ns = connection->start_ns,
		.pid = atomic_load_explicit(&listener->table->entries[slot].pid,
					    memory_order_relaxed),
		.socket = (uint16_t)connection->socket,
		.peer = connection->peer,
		.local = connection->local,
	};

	events_put(listener, &event);
}

/* The worker of slot has connection now: reports it, closes the connection here. */
static void spawn_settle(struct listener *listener, uint32_t slot, struct connection *connection)
{
	connection->fd = fd_close(connection->fd);
	listener->holders[slot].source = connection->source;
	if (listener->settings->flags & SETTINGS_REPORT_OPEN)
		spawn_report_open(listener, slot, connection);
	listener->next_id++;
}

int spawn_worker(struct listener *listener, struct connection *connection)
{
	uint32_t slot = slots_take(&listener->slots);
	int r;

	assert(connection->fd >= 0);
	if (slot == SLOTS_NONE)
		return -EAGAIN;
	spawn_fill_entry(listener, slot, connection);
	/* before the fork, so that a client that got an echo is already counted as live */
	spawn_set_live(listener, listener->live + 1);
	r = spawn_fork(listener, slot, connection->fd, connection->flags);
	if (r < 0) {
		spawn_set_live(listener, listener->live - 1);
		return r;
	}
	spawn_settle(listener, slot, connection);
	return 0;
}
