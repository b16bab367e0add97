/* SPDX-License-Identifier: MIT */
/* The connections of a load process: what each does when it can, and how it fails. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/load/worker.h"
#include "echoctl/probe/payload.h"

#define RETRY_NS 1000000u	/* before the next look at a backlog that is full */

void load_connection_free(struct load_worker *worker, struct load_connection *connection)
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

struct load_connection *load_connection_first(struct load_worker *worker)
{
	while (worker->idle_first && worker->idle_first->state != IDLE) {
		worker->idle_first->queued = false;
		worker->idle_first = worker->idle_first->next;
	}
	return worker->idle_first;
}

static void hang_up(struct load_worker *worker, struct load_connection *connection)
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

static void note_tried(struct load_worker *worker, struct load_connection *connection)
{
	if (!connection->tried)
		worker->untried--;
	connection->tried = true;
}

void load_connection_fail(struct load_worker *worker, struct load_connection *connection,
			  enum load_phase phase, int error)
{
	bool counts = connection->active || load_worker_has_more(worker, clock_now_ns());

	if (counts) {
		worker->tally->errors[phase]++;
		worker->tally->reasons[phase] = error;
		/* It stands for one, so that a count of messages ends with a dead server too. */
		if (!connection->active)
			worker->begun++;
	}
	note_tried(worker, connection);
	hang_up(worker, connection);
}

static int watch(struct load_worker *worker, struct load_connection *connection, int operation,
		 uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = connection };

	connection->writes = events & EPOLLOUT;
	return epoll_ctl(worker->epoll_fd, operation, connection->fd, &event) < 0 ? -errno : 0;
}

void load_connection_start(struct load_worker *worker, struct load_connection *connection,
			   uint64_t now_ns)
{
	connection->began_ns = now_ns;
	connection->message = 0;
	connection->state = CONNECTING;
	worker->connecting++;
	load_connection_try(worker, connection);
}

void load_connection_try(struct load_worker *worker, struct load_connection *connection)
{
	struct dial_options options = worker->plan->dial;
	enum dial_phase phase;
	uint64_t soon_ns;
	int error;
	int fd;

	/* The other connections cannot wait. */
	options.at_once = true;
	fd = dial_start(&worker->plan->target, &options, &phase);
	if (fd == -EAGAIN) {
		soon_ns = clock_now_ns() + RETRY_NS;
		if (soon_ns < worker->sweep_ns)
			worker->sweep_ns = soon_ns;
		return;
	}
	if (fd < 0 && phase == DIAL_SOCKET) {
		worker->error = fd;
		return;
	}
	connection->fd = fd;
	error = fd < 0 ? fd : watch(worker, connection, EPOLL_CTL_ADD, EPOLLOUT);
	if (error < 0)
		load_connection_fail(worker, connection, LOAD_CONNECT, error);
}

static void push(struct load_worker *worker, struct load_connection *connection)
{
	size_t size = worker->plan->size_bytes;
	ssize_t sent = send(connection->fd, connection->bytes + connection->sent_bytes,
			    size - connection->sent_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	int error = 0;
	bool writes;

	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		load_connection_fail(worker, connection, LOAD_SEND, -errno);
		return;
	}
	if (sent > 0)
		connection->sent_bytes += (size_t)sent;
	writes = connection->sent_bytes < size;
	if (writes != connection->writes)
		error = watch(worker, connection, EPOLL_CTL_MOD, EPOLLIN | (writes ? EPOLLOUT : 0));
	if (error < 0)
		load_connection_fail(worker, connection, LOAD_SEND, error);
}

static void send_message(struct load_worker *worker, struct load_connection *connection)
{
	connection->bytes = worker->plan->table +
		payload_window(connection->number, connection->message++);
	connection->sent_bytes = 0;
	connection->received_bytes = 0;
	connection->state = ECHOING;
	push(worker, connection);
}

void load_connection_begin_due(struct load_worker *worker, uint64_t now_ns)
{
	struct load_connection *connection = load_connection_first(worker);
	uint64_t due_ns;

	while (connection && worker->error == 0 && now_ns < worker->end_ns &&
	       worker->begun < worker->quota) {
		due_ns = worker->plan->rate > 0 ? load_worker_due_ns(worker) : now_ns;
		if (due_ns > now_ns)
			return;
		worker->idle_first = connection->next;
		connection->queued = false;
		connection->active = true;
		connection->due_ns = due_ns;
		connection->began_ns = now_ns;
		worker->active++;
		worker->begun++;
		worker->dealt++;
		if (worker->plan->reconnect)
			load_connection_start(worker, connection, now_ns);
		else
			send_message(worker, connection);
		/* Of many that begin together each has its own time. */
		connection = load_connection_first(worker);
		if (connection)
			now_ns = clock_now_ns();
	}
}

static void take_connection(struct load_worker *worker, struct load_connection *connection)
{
	uint64_t now_ns = clock_now_ns();
	int error = 0;

	getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof(error)});
	if (error == 0 && load_worker_overdue(worker, connection, now_ns))
		error = ETIMEDOUT;
	if (error == 0)
		error = -watch(worker, connection, EPOLL_CTL_MOD, EPOLLIN);
	if (error != 0) {
		load_connection_fail(worker, connection, LOAD_CONNECT, -error);
		return;
	}
	/* Unix sockets refuse, and need it not. */
	setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	note_tried(worker, connection);
	worker->connecting--;
	worker->tally->connections++;
	worker->tally->open++;
	histogram_record(&worker->tally->connect, now_ns - connection->began_ns);
	if (connection->active)
		send_message(worker, connection);
	else
		load_connection_free(worker, connection);
}

/* A message has passed, with a connection of its own its end included. */
static void count_verified(struct load_worker *worker, const struct load_connection *connection)
{
	histogram_record(&worker->tally->raw, connection->echoed_ns - connection->began_ns);
	if (worker->plan->rate > 0)
		histogram_record(&worker->tally->corrected,
				 connection->echoed_ns - connection->due_ns);
}

/* The whole echo is there and right, if not in time. */
static void complete(struct load_worker *worker, struct load_connection *connection)
{
	uint64_t now_ns = clock_now_ns();

	if (load_worker_overdue(worker, connection, now_ns)) {
		load_connection_fail(worker, connection, LOAD_ECHO, -ETIMEDOUT);
		return;
	}
	connection->echoed_ns = now_ns;
	if (worker->plan->reconnect) {
		connection->state = CLOSING;
		if (shutdown(connection->fd, SHUT_WR) < 0)
			load_connection_fail(worker, connection, LOAD_EOF, -errno);
		return;
	}
	count_verified(worker, connection);
	connection->active = false;
	worker->active--;
	load_connection_free(worker, connection);
	load_connection_begin_due(worker, now_ns);
}

static void take_echo(struct load_worker *worker, struct load_connection *connection)
{
	size_t left = worker->plan->size_bytes - connection->received_bytes;
	/* One byte more than is missing shows what was never sent. */
	ssize_t got = recv(connection->fd, worker->buffer,
			   left < LOAD_BUFFER_BYTES ? left + 1 : LOAD_BUFFER_BYTES, MSG_DONTWAIT);

	if (got < 0) {
		if (errno != EAGAIN && errno != EINTR)
			load_connection_fail(worker, connection, LOAD_ECHO, -errno);
		return;
	}
	if (got == 0) {
		load_connection_fail(worker, connection, LOAD_ECHO, -ENODATA);
		return;
	}
	if ((size_t)got > connection->sent_bytes - connection->received_bytes ||
	    memcmp(worker->buffer, connection->bytes + connection->received_bytes,
		   (size_t)got) != 0) {
		load_connection_fail(worker, connection, LOAD_VERIFY, -EBADMSG);
		return;
	}
	connection->received_bytes += (size_t)got;
	worker->tally->bytes += (uint64_t)got;
	if (connection->received_bytes == worker->plan->size_bytes)
		complete(worker, connection);
}

/* Nothing but the peer's FIN may come. */
static void take_end(struct load_worker *worker, struct load_connection *connection)
{
	ssize_t got = recv(connection->fd, worker->buffer, 1, MSG_DONTWAIT);
	enum load_phase phase = connection->state == IDLE ? LOAD_ECHO : LOAD_EOF;
	uint64_t now_ns = clock_now_ns();

	if (got > 0) {
		load_connection_fail(worker, connection, LOAD_VERIFY, -EBADMSG);
	} else if (got < 0) {
		if (errno != EAGAIN && errno != EINTR)
			load_connection_fail(worker, connection, phase, -errno);
	} else if (connection->state == IDLE) {
		load_connection_fail(worker, connection, phase, -ENODATA);
	} else if (load_worker_overdue(worker, connection, now_ns)) {
		load_connection_fail(worker, connection, phase, -ETIMEDOUT);
	} else {
		count_verified(worker, connection);
		hang_up(worker, connection);
		load_connection_free(worker, connection);
		load_connection_begin_due(worker, now_ns);
	}
}

void load_connection_take(struct load_worker *worker, struct load_connection *connection,
			  uint32_t events)
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

enum load_phase load_connection_phase(const struct load_worker *worker,
				      const struct load_connection *connection)
{
	if (connection->state == CONNECTING)
		return LOAD_CONNECT;
	if (connection->state == CLOSING)
		return LOAD_EOF;
	return connection->sent_bytes < worker->plan->size_bytes ? LOAD_SEND : LOAD_ECHO;
}
