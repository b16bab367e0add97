/* SPDX-License-Identifier: MIT */
/* One process of load: an epoll loop that sends, receives and compares without allocating. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/load.h"
#include "echoctl/payload.h"
#include "echoctl/schedule.h"

#define BATCH 256			/* events taken at a time */
#define BUFFER_BYTES 262144
#define CONNECTING_MAX 64		/* at a time, so that no backlog overflows */
#define SWEEP_NS 100000000u		/* between looks for what is overdue or to be opened */
#define START_POLL_NS 1000000u

enum state {
	CLOSED,		/* to be opened at the next sweep */
	CONNECTING,
	IDLE,
	ECHOING,
	CLOSING,	/* our FIN is out, the peer's is awaited */
};

struct connection {
	enum state state;
	int fd;
	bool queued;			/* stands in the idle queue, even if closed since */
	bool active;			/* carries a message */
	bool writes;			/* EPOLLOUT is asked for */
	uint64_t number;		/* among those of all processes */
	uint64_t message;		/* how many it has begun */
	const uint8_t *bytes;
	size_t sent_bytes;
	size_t received_bytes;
	uint64_t began_ns;		/* of connecting or of the message */
	uint64_t due_ns;
	struct connection *next;	/* in the idle queue */
};

struct worker {
	const struct load_plan *plan;
	const struct load_shared *shared;
	struct load_tally *tally;
	uint64_t index;
	struct connection *connections;
	size_t n_connections;
	struct connection *idle_first;
	struct connection *idle_last;
	size_t connecting;
	size_t active;			/* messages under way */
	uint64_t begun;			/* messages, of quota */
	uint64_t quota;
	struct schedule schedule;	/* events of all processes; ours are every n-th */
	uint64_t end_ns;		/* nothing begins after it; 0: before the start */
	uint64_t sweep_ns;
	int epoll_fd;
	uint8_t *buffer;
};

static void enqueue(struct worker *worker, struct connection *connection)
{
	connection->state = IDLE;
	if (connection->queued)
		return;
	connection->queued = true;
	connection->next = NULL;
	if (worker->idle_first)
		worker->idle_last->next = connection;
	else
		worker->idle_first = connection;
	worker->idle_last = connection;
}

/* The one that waits for the longest time; NULL when none does. */
static struct connection *first_idle(struct worker *worker)
{
	while (worker->idle_first && worker->idle_first->state != IDLE) {
		worker->idle_first->queued = false;
		worker->idle_first = worker->idle_first->next;
	}
	return worker->idle_first;
}

static void hang_up(struct worker *worker, struct connection *connection)
{
	if (connection->state == CONNECTING)
		worker->connecting--;
	else if (connection->fd >= 0)
		worker->tally->open--;
	if (connection->active)
		worker->active--;
	connection->active = false;
	connection->fd = fd_close(connection->fd);
	connection->state = CLOSED;
}

static void fail(struct worker *worker, struct connection *connection, enum load_phase phase,
		 int error)
{
	worker->tally->errors[phase]++;
	worker->tally->reasons[phase] = error;
	hang_up(worker, connection);
}

static int watch(struct worker *worker, struct connection *connection, int operation,
		 uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = connection };

	connection->writes = events & EPOLLOUT;
	return epoll_ctl(worker->epoll_fd, operation, connection->fd, &event) < 0 ? -errno : 0;
}

static void start_connecting(struct worker *worker, struct connection *connection, uint64_t now_ns)
{
	enum dial_phase phase;
	int fd = dial_start(&worker->plan->target, &worker->plan->dial, &phase);
	int error;

	connection->began_ns = now_ns;
	connection->message = 0;
	if (fd < 0) {
		fail(worker, connection, LOAD_CONNECT, fd);
		return;
	}
	connection->fd = fd;
	connection->state = CONNECTING;
	worker->connecting++;
	error = watch(worker, connection, EPOLL_CTL_ADD, EPOLLOUT);
	if (error < 0)
		fail(worker, connection, LOAD_CONNECT, error);
}

static void push(struct worker *worker, struct connection *connection)
{
	size_t size = worker->plan->size_bytes;
	ssize_t sent = send(connection->fd, connection->bytes + connection->sent_bytes,
			    size - connection->sent_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	int error = 0;
	bool writes;

	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		fail(worker, connection, LOAD_SEND, -errno);
		return;
	}
	if (sent > 0)
		connection->sent_bytes += (size_t)sent;
	writes = connection->sent_bytes < size;
	if (writes != connection->writes)
		error = watch(worker, connection, EPOLL_CTL_MOD, EPOLLIN | (writes ? EPOLLOUT : 0));
	if (error < 0)
		fail(worker, connection, LOAD_SEND, error);
}

static void send_message(struct worker *worker, struct connection *connection)
{
	connection->bytes = worker->plan->table +
		payload_window(connection->number, connection->message++);
	connection->sent_bytes = 0;
	connection->received_bytes = 0;
	connection->state = ECHOING;
	push(worker, connection);
}

/* Begins what is due, as long as a connection is free for it. */
static void begin_due(struct worker *worker, uint64_t now_ns)
{
	const struct load_plan *plan = worker->plan;

	while (now_ns < worker->end_ns && worker->begun < worker->quota) {
		struct connection *connection = first_idle(worker);
		uint64_t due_ns = now_ns;

		if (!connection)
			return;
		if (plan->rate > 0)
			due_ns = schedule_due_ns(&worker->schedule,
						 worker->begun * plan->processes + worker->index);
		if (due_ns > now_ns)
			return;
		worker->idle_first = connection->next;
		connection->queued = false;
		connection->active = true;
		connection->due_ns = due_ns;
		connection->began_ns = now_ns;
		worker->active++;
		worker->begun++;
		if (plan->reconnect)
			start_connecting(worker, connection, now_ns);
		else
			send_message(worker, connection);
	}
}

static void take_connection(struct worker *worker, struct connection *connection)
{
	uint64_t now_ns = clock_now_ns();
	int error = 0;

	getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof(error)});
	if (error == 0)
		error = -watch(worker, connection, EPOLL_CTL_MOD, EPOLLIN);
	if (error != 0) {
		fail(worker, connection, LOAD_CONNECT, -error);
		return;
	}
	/* Unix sockets refuse, and need it not. */
	setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	worker->connecting--;
	worker->tally->connections++;
	worker->tally->open++;
	histogram_record(&worker->tally->connect, now_ns - connection->began_ns);
	if (connection->active)
		send_message(worker, connection);
	else
		enqueue(worker, connection);
}

/* The whole echo is there and right. */
static void complete(struct worker *worker, struct connection *connection)
{
	uint64_t now_ns = clock_now_ns();

	histogram_record(&worker->tally->raw, now_ns - connection->began_ns);
	if (worker->plan->rate > 0)
		histogram_record(&worker->tally->corrected, now_ns - connection->due_ns);
	if (worker->plan->reconnect) {
		connection->state = CLOSING;
		if (shutdown(connection->fd, SHUT_WR) < 0)
			fail(worker, connection, LOAD_EOF, -errno);
		return;
	}
	connection->active = false;
	worker->active--;
	enqueue(worker, connection);
	begin_due(worker, now_ns);
}

static void take_echo(struct worker *worker, struct connection *connection)
{
	size_t left = worker->plan->size_bytes - connection->received_bytes;
	/* One byte more than is missing shows what was never sent. */
	ssize_t got = recv(connection->fd, worker->buffer,
			   left < BUFFER_BYTES ? left + 1 : BUFFER_BYTES, MSG_DONTWAIT);

	if (got < 0) {
		if (errno != EAGAIN && errno != EINTR)
			fail(worker, connection, LOAD_ECHO, -errno);
		return;
	}
	if (got == 0) {
		fail(worker, connection, LOAD_ECHO, -ENODATA);
		return;
	}
	if ((size_t)got > connection->sent_bytes - connection->received_bytes ||
	    memcmp(worker->buffer, connection->bytes + connection->received_bytes,
		   (size_t)got) != 0) {
		fail(worker, connection, LOAD_VERIFY, -EBADMSG);
		return;
	}
	connection->received_bytes += (size_t)got;
	worker->tally->bytes += (uint64_t)got;
	if (connection->received_bytes == worker->plan->size_bytes)
		complete(worker, connection);
}

/* Nothing but the peer's FIN may come. */
static void take_end(struct worker *worker, struct connection *connection)
{
	ssize_t got = recv(connection->fd, worker->buffer, 1, MSG_DONTWAIT);

	if (got > 0) {
		fail(worker, connection, LOAD_VERIFY, -EBADMSG);
	} else if (got < 0) {
		if (errno != EAGAIN && errno != EINTR)
			fail(worker, connection, LOAD_EOF, -errno);
	} else if (connection->state == IDLE) {
		fail(worker, connection, LOAD_ECHO, -ENODATA);
	} else {
		hang_up(worker, connection);
		enqueue(worker, connection);
		begin_due(worker, clock_now_ns());
	}
}

static void take_event(struct worker *worker, struct connection *connection, uint32_t events)
{
	switch (connection->state) {
	case CONNECTING:
		take_connection(worker, connection);
		break;
	case ECHOING:
		/* First what has come: an error of sending must not hide it. */
		if (events & ~(uint32_t)EPOLLOUT)
			take_echo(worker, connection);
		if (connection->state == ECHOING && connection->writes && events & EPOLLOUT)
			push(worker, connection);
		break;
	case IDLE:
	case CLOSING:
		take_end(worker, connection);
		break;
	case CLOSED:
		break;
	}
}

static enum load_phase phase_of(const struct worker *worker, const struct connection *connection)
{
	if (connection->state == CONNECTING)
		return LOAD_CONNECT;
	if (connection->state == CLOSING)
		return LOAD_EOF;
	return connection->sent_bytes < worker->plan->size_bytes ? LOAD_SEND : LOAD_ECHO;
}

/* Gives up what takes too long; opens what is closed, a few at a time. */
static void sweep(struct worker *worker, uint64_t now_ns)
{
	size_t untried = 0;

	for (size_t i = 0; i < worker->n_connections; i++) {
		struct connection *connection = &worker->connections[i];

		if ((connection->active || connection->state == CONNECTING) &&
		    now_ns - connection->began_ns > worker->plan->timeout_us * 1000)
			fail(worker, connection, phase_of(worker, connection), -ETIMEDOUT);
		else if (connection->state == CLOSED && worker->plan->reconnect)
			enqueue(worker, connection);
		else if (connection->state == CLOSED && worker->connecting < CONNECTING_MAX)
			start_connecting(worker, connection, now_ns);
		/* began_ns is 0 until the first attempt. */
		untried += !worker->plan->reconnect && connection->began_ns == 0;
	}
	if (worker->plan->reconnect || (untried == 0 && worker->connecting == 0))
		__atomic_store_n(&worker->tally->ready, true, __ATOMIC_RELEASE);
	/* Until all were tried the next ones follow at once. */
	worker->sweep_ns = now_ns + (untried > 0 ? START_POLL_NS : SWEEP_NS);
}

static int wait_for_events(struct worker *worker, uint64_t now_ns)
{
	struct epoll_event events[BATCH];
	uint64_t wake_ns = worker->sweep_ns;
	struct timespec timeout = { 0 };
	int count;

	if (worker->end_ns == 0)
		wake_ns = now_ns + START_POLL_NS;
	else if (worker->plan->rate > 0 && worker->begun < worker->quota && first_idle(worker)) {
		uint64_t due_ns = schedule_due_ns(&worker->schedule, worker->begun *
						  worker->plan->processes + worker->index);

		wake_ns = due_ns < wake_ns ? due_ns : wake_ns;
	}
	if (wake_ns > now_ns)
		timeout.tv_nsec = (long)(wake_ns - now_ns);
	count = epoll_pwait2(worker->epoll_fd, events, BATCH, &timeout, NULL);
	for (int i = 0; i < count; i++)
		take_event(worker, events[i].data.ptr, events[i].events);
	return count < 0 && errno != EINTR ? -errno : 0;
}

/* The parent has given the signal: from now on messages may begin. */
static void start(struct worker *worker, uint64_t start_ns)
{
	worker->schedule = (struct schedule){
		.start_ns = start_ns, .period_ns = CLOCK_NS_PER_S,
		.per_period = worker->plan->rate > 0 ? worker->plan->rate : 1,
	};
	worker->end_ns = start_ns + worker->plan->duration_us * 1000;
}

static int work(struct worker *worker)
{
	int error = 0;

	while (error == 0) {
		uint64_t now_ns = clock_now_ns();
		uint64_t start_ns = __atomic_load_n(&worker->shared->start_ns, __ATOMIC_ACQUIRE);

		if (__atomic_load_n(&worker->shared->stop, __ATOMIC_RELAXED))
			break;
		if (worker->end_ns == 0 && start_ns > 0)
			start(worker, start_ns);
		if (now_ns >= worker->sweep_ns)
			sweep(worker, now_ns);
		begin_due(worker, now_ns);
		if (worker->end_ns > 0 && worker->active == 0 &&
		    (now_ns >= worker->end_ns || worker->begun >= worker->quota))
			break;
		error = wait_for_events(worker, now_ns);
	}
	return error;
}

/* The share of process number index when total is dealt out in turn. */
static uint64_t share(uint64_t total, uint64_t processes, uint64_t index)
{
	return total / processes + (index < total % processes ? 1 : 0);
}

int load_work(const struct load_plan *plan, struct load_shared *shared, uint64_t index)
{
	struct worker worker = {
		.plan = plan,
		.shared = shared,
		.tally = &shared->tallies[index],
		.index = index,
		.n_connections = share(plan->connections, plan->processes, index),
		.quota = plan->messages > 0 ? share(plan->messages, plan->processes, index) : UINT64_MAX,
		.epoll_fd = epoll_create1(EPOLL_CLOEXEC),
		.buffer = malloc(BUFFER_BYTES),
	};
	int error;

	if (worker.epoll_fd < 0)
		return -errno;
	worker.connections = calloc(worker.n_connections, sizeof(*worker.connections));
	if (!worker.connections || !worker.buffer)
		return -ENOMEM;
	prctl(PR_SET_TIMERSLACK, 1);
	for (size_t i = 0; i < worker.n_connections; i++) {
		worker.connections[i].fd = -1;
		worker.connections[i].number = i * plan->processes + index;
	}
	error = work(&worker);
	for (size_t i = 0; i < worker.n_connections; i++)
		fd_close(worker.connections[i].fd);
	free(worker.connections);
	free(worker.buffer);
	fd_close(worker.epoll_fd);
	return error;
}
