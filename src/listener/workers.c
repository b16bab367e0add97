/* SPDX-License-Identifier: MIT */
/*
 * Workers, from the fork to the account of their end. The entry is filled before the process is
 * forked, so that every worker is known; finding an end takes constant time.
 */
#include <assert.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/sys.h"
#include "listener/lean.h"
#include "listener/listener.h"
#include "worker/worker.h"

#define REAP_BATCH 32

static void fill_entry(struct listener *listener, uint32_t slot,
		       const struct connection *connection)
{
	struct entry *entry = &listener->table->entries[slot];

	entry->socket = connection->socket;
	entry->peer = connection->peer;
	entry->via = connection->via;
	entry->local = connection->local;
	entry->unique_id = connection->unique_id;
	entry->is_multipath = connection->is_multipath;
	atomic_store_explicit(&entry->start_ns, connection->start_ns, memory_order_relaxed);
	atomic_store_explicit(&entry->id, listener->next_id, memory_order_relaxed);
	atomic_store_explicit(&entry->state, ENTRY_LIVE, memory_order_release);
}

/* Called when its event is made, or if the fork failed. */
static void free_slot(struct listener *listener, uint32_t slot)
{
	struct entry *entry = &listener->table->entries[slot];

	atomic_store_explicit(&entry->state, ENTRY_FREE, memory_order_release);
	atomic_store_explicit(&entry->pid, 0, memory_order_relaxed);
	atomic_store_explicit(&entry->id, 0, memory_order_relaxed);
	slots_give(&listener->slots, slot);
}

static void count_fork_time(struct listener *listener, uint64_t elapsed_ns)
{
	struct totals *totals = &listener->table->totals;
	uint64_t us = elapsed_ns / CLOCK_NS_PER_US;

	events_count(&totals->fork_histogram[histogram_bucket(us, FORK_BUCKETS)], 1);
	events_count(&totals->fork_sum_us, us);
}

/* Returns 0 if there is none. */
static uint64_t random_word(struct listener *listener)
{
	if (listener->random_left == 0) {
		ssize_t n = sys_random(listener->random, sizeof(listener->random));

		if (n != (ssize_t)sizeof(listener->random))
			return 0;
		listener->random_left = RANDOM_WORDS;
	}
	return listener->random[--listener->random_left];
}

static int fork_worker(struct listener *listener, uint32_t slot,
		       const struct connection *connection)
{
	struct holder *holder = &listener->slots.holders[slot];
	struct worker_call call = {
		.entry = worker_run,
		.fd = connection->fd,
		.flags = connection->flags | listener->worker_flags,
		.slot = &listener->shared[slot],
		.command = &listener->commands[slot],
		.settings = listener->settings,
		.proof = random_word(listener),
	};
	uint64_t before_ns = clock_now_ns();
	pid_t pid;

	memset(call.slot, 0, sizeof(struct slot));
	pid = lean_fork(&call, REAP_SIGNAL, &listener->table->entries[slot].pid);
	if (pid < 0)
		return pid;
	holder->proof = call.proof;
	holder->source = connection->source;
	slots_bind(&listener->slots, pid, slot);
	count_fork_time(listener, clock_now_ns() - before_ns);
	return 0;
}

static void report_open(struct listener *listener, uint32_t slot,
			const struct connection *connection)
{
	struct event event = events_about(connection, EVENT_OPENED);

	event.slot = slot;
	event.id = listener->next_id;
	event.pid = listener->slots.holders[slot].pid;
	events_put(listener, &event);
}

int workers_start(struct listener *listener, struct connection *connection)
{
	uint32_t slot = slots_take(&listener->slots);
	int r;

	assert(connection->fd >= 0);
	if (slot == SLOTS_NONE)
		return -EAGAIN;
	fill_entry(listener, slot, connection);
	/* before the fork, so that a client that got an echo is already counted as live */
	listener_set_live(listener, listener_live(listener) + 1);
	r = fork_worker(listener, slot, connection);
	if (r < 0) {
		listener_set_live(listener, listener_live(listener) - 1);
		free_slot(listener, slot);
		return r;
	}
	connection->fd = fd_close(connection->fd);
	if (listener->settings->flags & SETTINGS_REPORT_OPEN)
		report_open(listener, slot, connection);
	listener->next_id++;
	return 0;
}

void workers_account(struct listener *listener, const struct event *event)
{
	struct totals *totals = &listener->table->totals;
	uint64_t us = event_duration_us(event);

	events_count(&totals->duration_histogram[histogram_bucket(us / 1000, DURATION_BUCKETS)], 1);
	events_count(&totals->duration_sum_us, us);
	events_count(&totals->closed[event->reason], 1);
	events_count(&totals->bytes_in, event->bytes_in);
	events_count(&totals->bytes_out, event->bytes_out);
	if (event->count == 0)
		events_count(&totals->empty, 1);
}

/*
 * How the worker of slot ended. The numbers are those that it wrote; they are only printed. The
 * level of the line depends on whether it got a byte, so it has to prove that it got none.
 */
static struct event reap_event(const struct listener *listener, uint32_t slot, pid_t pid,
			       int status, const struct rusage *usage)
{
	const struct slot *shared = &listener->shared[slot];
	const uint64_t proof = listener->slots.holders[slot].proof;
	const bool is_empty = proof != 0 && proof == atomic_load_explicit(&shared->proof,
									  memory_order_relaxed);
	const bool is_draining = command_for(&listener->commands[slot], pid) == SLOT_END_DRAIN;
	struct event event = event_closed(&listener->table->entries[slot], shared, slot, usage);

	event.end_ns = clock_now_ns();
	event.pid = pid;
	event.status = status;
	event.reason = (uint16_t)end_of_status(status, is_draining);
	event.count = !is_empty;
	if (is_empty)
		event.bytes_in = event.bytes_out = 0;
	return event;
}

static void reap_worker(struct listener *listener, pid_t pid, int status,
			const struct rusage *usage)
{
	uint32_t slot = slots_unbind(&listener->slots, pid);
	struct event event;

	if (slot == SLOTS_NONE) {
		datagrams_reaped(listener, pid, status);
		return;
	}
	event = reap_event(listener, slot, pid, status, usage);
	workers_account(listener, &event);
	sources_leave(&listener->sources, listener->slots.holders[slot].source);
	listener_set_live(listener, listener_live(listener) - 1);
	free_slot(listener, slot);
	listener->starvation.retry_ns = 0;
	events_put(listener, &event);
}

/* Returns false if pid (-1: any) has not ended. */
static bool reap_wait(struct listener *listener, pid_t pid)
{
	struct rusage usage;
	int status;
	pid_t ended = sys_wait(pid, &status, WNOHANG | __WALL, &usage);

	if (ended <= 0)
		return false;
	reap_worker(listener, ended, status, &usage);
	return true;
}

/*
 * Returns the process that has ended, or -1: any child, slow with many. The kernel sends the record
 * of a child, but signalfd(2) takes a real-time signal with this code for one of poll and puts the
 * process id into the band, in its low half on little-endian machines only.
 */
static pid_t reap_pid(const struct signalfd_siginfo *record)
{
	if (record->ssi_pid != 0)
		return (pid_t)record->ssi_pid;
	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && record->ssi_band > 0)
		return record->ssi_band;
	return -1;
}

void workers_reap(struct listener *listener)
{
	struct signalfd_siginfo records[REAP_BATCH];
	ssize_t n = sys_read(listener->signal_fd, records, sizeof(records));

	for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(records[0]); i++)
		(void)reap_wait(listener, reap_pid(&records[i]));
}

void workers_reap_all(struct listener *listener)
{
	while (reap_wait(listener, -1))
		;
}
