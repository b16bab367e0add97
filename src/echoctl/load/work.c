/* SPDX-License-Identifier: MIT */
/* One process of load: an epoll loop that allocates nothing for a message. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/load/worker.h"

#define BATCH 256			/* events taken at a time */
#define CONNECTING_MAX 64		/* at a time, so that no backlog overflows */
#define SWEEP_NS 100000000u		/* between looks for what is overdue or to be opened */
#define START_POLL_NS 1000000u

/*
 * What is closed is opened: before the start once, after it whenever a sweep comes along, as long
 * as there is something for it to carry.
 */
static bool wants_opening(const struct load_worker *worker,
			  const struct load_connection *connection, uint64_t now_ns)
{
	return connection->state == CLOSED && worker->connecting < CONNECTING_MAX &&
		(!connection->tried ||
		 (worker->end_ns > 0 && load_worker_has_more(worker, now_ns)));
}

/* Gives up what takes too long; opens what is closed, a few at a time. */
static void sweep(struct load_worker *worker, uint64_t now_ns)
{
	worker->sweep_ns = now_ns + (worker->end_ns > 0 ? SWEEP_NS : START_POLL_NS);
	for (size_t i = 0; i < worker->n_connections; i++) {
		struct load_connection *connection = &worker->connections[i];

		if ((connection->active || connection->state == CONNECTING) &&
		    load_worker_overdue(worker, connection, now_ns))
			load_connection_fail(worker, connection,
					     load_connection_phase(worker, connection), -ETIMEDOUT);
		else if (connection->state == CONNECTING && connection->fd < 0)
			load_connection_try(worker, connection);
		else if (worker->plan->reconnect && connection->state == CLOSED)
			load_connection_free(worker, connection);
		else if (wants_opening(worker, connection, now_ns))
			load_connection_start(worker, connection, now_ns);
	}
	if (worker->plan->reconnect || worker->untried == 0)
		__atomic_store_n(&worker->tally->ready, true, __ATOMIC_RELEASE);
}

static void wait_for_events(struct load_worker *worker, uint64_t now_ns)
{
	struct epoll_event events[BATCH];
	uint64_t wake_ns = worker->sweep_ns;
	struct timespec timeout = { 0 };
	int count;

	if (worker->end_ns == 0)
		wake_ns = now_ns + START_POLL_NS;
	else if (worker->plan->rate > 0 && worker->begun < worker->quota &&
		 load_connection_first(worker) && load_worker_due_ns(worker) < wake_ns)
		wake_ns = load_worker_due_ns(worker);
	if (wake_ns > now_ns)
		timeout.tv_nsec = (long)(wake_ns - now_ns);
	count = epoll_pwait2(worker->epoll_fd, events, BATCH, &timeout, NULL);
	for (int i = 0; i < count; i++)
		load_connection_take(worker, events[i].data.ptr, events[i].events);
	if (count < 0 && errno != EINTR)
		worker->error = -errno;
}

/* The parent has given the signal: from now on messages may begin. */
static void start(struct load_worker *worker, uint64_t start_ns)
{
	worker->schedule = (struct schedule){
		.start_ns = start_ns, .period_ns = CLOCK_NS_PER_S,
		.per_period = worker->plan->rate > 0 ? worker->plan->rate : 1,
	};
	worker->end_ns = start_ns + worker->plan->duration_us * 1000;
}

static int work(struct load_worker *worker)
{
	while (worker->error == 0) {
		uint64_t now_ns = clock_now_ns();
		uint64_t start_ns = __atomic_load_n(&worker->shared->start_ns, __ATOMIC_ACQUIRE);

		if (__atomic_load_n(&worker->shared->stop, __ATOMIC_RELAXED))
			break;
		if (worker->end_ns == 0 && start_ns > 0)
			start(worker, start_ns);
		if (now_ns >= worker->sweep_ns)
			sweep(worker, now_ns);
		load_connection_begin_due(worker, now_ns);
		if (worker->end_ns > 0 && worker->active == 0 &&
		    (now_ns >= worker->end_ns || worker->begun >= worker->quota))
			break;
		if (worker->error == 0)
			wait_for_events(worker, now_ns);
	}
	return worker->error;
}

/* The share of process number index when total is dealt out in turn. */
static uint64_t share(uint64_t total, uint64_t processes, uint64_t index)
{
	return total / processes + (index < total % processes ? 1 : 0);
}

/* How long that would have taken nobody knows: it is told apart, and not left out in silence. */
static uint64_t count_not_begun(const struct load_worker *worker)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t until_ns = now_ns < worker->end_ns ? now_ns : worker->end_ns - 1;
	uint64_t left = worker->quota > worker->begun ? worker->quota - worker->begun : 0;
	uint64_t due;

	if (worker->plan->rate == 0 || worker->end_ns == 0)
		return 0;
	due = share(schedule_count(&worker->schedule, until_ns), worker->plan->processes,
		    worker->index);
	due = due > worker->dealt ? due - worker->dealt : 0;
	return due < left ? due : left;
}

int load_work(const struct load_plan *plan, struct load_shared *shared, uint64_t index)
{
	size_t n_connections = share(plan->connections, plan->processes, index);
	struct load_worker worker = {
		.plan = plan,
		.shared = shared,
		.tally = &shared->tallies[index],
		.index = index,
		.n_connections = n_connections,
		.untried = n_connections,
		.quota = UINT64_MAX,
		.connections = calloc(n_connections, sizeof(*worker.connections)),
		.buffer = malloc(LOAD_BUFFER_BYTES),
		.epoll_fd = epoll_create1(EPOLL_CLOEXEC),
	};
	int error = -ENOMEM;

	if (worker.epoll_fd < 0)
		error = -errno;
	if (worker.epoll_fd < 0 || !worker.connections || !worker.buffer)
		goto out;
	if (plan->messages > 0)
		worker.quota = share(plan->messages, plan->processes, index);
	for (size_t i = 0; i < n_connections; i++) {
		worker.connections[i].fd = -1;
		worker.connections[i].number = i * plan->processes + index;
	}
	prctl(PR_SET_TIMERSLACK, 1);
	error = work(&worker);
	worker.tally->not_begun = count_not_begun(&worker);
	for (size_t i = 0; i < n_connections; i++)
		fd_close(worker.connections[i].fd);
out:
	free(worker.connections);
	free(worker.buffer);
	fd_close(worker.epoll_fd);
	return error;
}
