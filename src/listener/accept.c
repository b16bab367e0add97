/* SPDX-License-Identifier: MIT */
/* The only judge of limits: accept, look, then fork or refuse. */
#include <assert.h>
#include <netinet/in.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/sys.h"
#include "listener/listener.h"
#include "worker/worker.h"

#define ACCEPT_BATCH 16		/* for each turn and socket; reaping comes in between */

bool accept_is_multipath(int fd)
{
	int protocol = 0;
	socklen_t length = sizeof(protocol);

	return sys_getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0 &&
	       protocol == IPPROTO_MPTCP;
}

static uint64_t accept_all_live(const struct listener *listener)
{
	return (uint64_t)listener_live(listener) +
	       atomic_load_explicit(&listener->table->foreign_live, memory_order_relaxed);
}

bool accept_at_limit(const struct listener *listener)
{
	return accept_all_live(listener) >= listener->settings->connections;
}

void accept_note_limit(struct listener *listener)
{
	const uint32_t limit = listener->settings->connections;
	bool is_at_limit = accept_at_limit(listener);

	if (listener->is_at_limit)
		is_at_limit = accept_all_live(listener) * 8 > limit * 7ull;
	if (is_at_limit == listener->is_at_limit)
		return;
	listener->is_at_limit = is_at_limit;
	events_note(listener, EVENT_LIMIT, clock_now_ns(), limit, is_at_limit);
}

bool accept_is_open(const struct listener *listener)
{
	if (listener->is_stopping || !listener_can_start(listener) ||
	    listener->waiting_count == SETTINGS_MAX_WAITING)
		return false;
	return listener->settings->at_limit == AT_LIMIT_REFUSE || !accept_at_limit(listener);
}

static void accept_take_over(struct listener *listener, struct connection *connection)
{
	int r = workers_start(listener, connection);

	if (r == 0)
		return;
	listener->pending = *connection;
	events_starve(listener, r, clock_now_ns());
}

void accept_pending(struct listener *listener)
{
	struct connection connection = listener->pending;

	if (connection.fd < 0 || listener->starvation.retry_ns != 0)
		return;
	listener->pending.fd = -1;
	accept_take_over(listener, &connection);
}

/* Sends FIN before the close: a peer that has sent nothing yet sees an end and no reset. */
static void accept_refuse(struct listener *listener, struct connection *connection,
			  enum refuse_reason reason)
{
	struct event event = events_about(connection, EVENT_REFUSED);

	event.reason = (uint16_t)reason;
	events_count(&listener->table->totals.refused[reason], 1);
	events_put(listener, &event);
	(void)sys_shutdown(connection->fd, SHUT_WR);
	connection->fd = fd_close(connection->fd);
}

void accept_give_up(struct listener *listener)
{
	if (listener->pending.fd >= 0)
		accept_refuse(listener, &listener->pending, REFUSE_CONNECTIONS);
	while (listener->waiting_count > 0) {
		struct connection connection = waiting_remove(listener, 0);

		accept_refuse(listener, &connection, REFUSE_CONNECTIONS);
	}
}

/* Returns true if the connection may have a worker, and is counted for its source. */
static bool accept_judge(struct listener *listener, struct connection *connection)
{
	uint8_t address[16];
	int r;

	/* No rule and no limit for sources applies to a peer without an address. */
	if (!endpoint_address(&connection->peer, address))
		return true;
	if (!settings_allow(listener->settings, address)) {
		accept_refuse(listener, connection, REFUSE_ACCESS);
		return false;
	}
	if (settings_is_exempt(listener->settings, address))
		return true;
	r = sources_enter(&listener->sources, address, connection->start_ns, &connection->source);
	if (r < 0) {
		accept_refuse(listener, connection,
			      r == -EUSERS ? REFUSE_PER_SOURCE : REFUSE_RATE);
		return false;
	}
	return true;
}

/* The local end is that of the socket; if that is bound to every address the kernel is asked. */
static void accept_set_local(const struct settings_socket *socket, struct connection *connection)
{
	struct sockaddr_storage storage;
	socklen_t length = sizeof(storage);

	if (socket->wildcard == 1 &&
	    sys_getsockname(connection->fd, (struct sockaddr *)&storage, &length) == 0) {
		endpoint_set(&connection->local, &storage);
		return;
	}
	connection->local = settings_local(socket);
}

/* A Unix peer has no address: its process and user are used instead. */
static void accept_set_credentials(struct connection *connection)
{
	struct ucred credentials;
	socklen_t length = sizeof(credentials);

	connection->flags |= WORKER_NOT_TCP | WORKER_OPTIONS;
	if (sys_getsockopt(connection->fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
		return;
	memcpy(connection->peer.address, &credentials.pid, sizeof(credentials.pid));
	memcpy(connection->peer.address + 4, &credentials.uid, sizeof(credentials.uid));
}

/* Describes connection, which was accepted just now, and gives it a worker or refuses it. */
static void accept_enter(struct listener *listener, struct connection *connection,
			 const struct sockaddr_storage *peer)
{
	connection->start_ns = clock_now_ns();
	events_count(&listener->table->totals.accepted, 1);
	endpoint_set(&connection->peer, peer);
	if (connection->peer.family == ENDPOINT_UNIX)
		accept_set_credentials(connection);
	if (listener->is_multipath[connection->socket]) {
		connection->is_multipath = accept_is_multipath(connection->fd);
		connection->flags |= WORKER_OPTIONS |
				     (connection->is_multipath ? WORKER_NOT_TCP : 0);
	}
	accept_set_local(&settings_sockets(listener->settings)[connection->socket], connection);
	if (accept_at_limit(listener))
		accept_refuse(listener, connection, REFUSE_CONNECTIONS);
	else if (listener->settings->proxy_timeout_us > 0 &&
		 settings_trusts(listener->settings, &connection->peer))
		waiting_add(listener, connection);
	else if (accept_judge(listener, connection))
		accept_take_over(listener, connection);
}

/*
 * The header is whole. Rules and limits of sources are for the announced client: the balancer
 * itself, which names none for its health checks, is no source.
 */
static void accept_enter_announced(struct listener *listener, struct connection *connection,
				   const struct proxy_header *header)
{
	connection->start_ns = clock_now_ns();
	if (header->source.family != ENDPOINT_NONE) {
		connection->via = connection->peer;
		connection->peer = header->source;
		connection->unique_id = header->unique_id;
		if (!accept_judge(listener, connection))
			return;
	}
	accept_take_over(listener, connection);
}

/* A balancer that looks whether somebody is here (a health check): it has sent nothing. */
static void accept_note_empty(struct listener *listener, struct connection *connection, int error)
{
	struct event event = events_about(connection, EVENT_CLOSED);

	event.end_ns = clock_now_ns();
	event.reason = error == -ENODATA ? END_FIN : END_RESET;
	workers_account(listener, &event);
	events_put(listener, &event);
	connection->fd = fd_close(connection->fd);
}

void accept_announced(struct listener *listener, const struct pollfd *polled, uint32_t count)
{
	uint64_t now_ns = count > 0 ? clock_now_ns() : 0;

	/* from the end: the last one takes the place of one that is removed */
	for (uint32_t i = count; i-- > 0 && listener_can_start(listener);) {
		bool is_late = now_ns >= listener->waiting[i]->deadline_ns;
		struct connection connection;
		struct proxy_header header;
		int r;

		if (polled[i].revents == 0 && !is_late)
			continue;
		r = waiting_read(listener->waiting[i], &header);
		if (r == 0 && !is_late)
			continue;
		connection = waiting_remove(listener, i);
		if (r > 0)
			accept_enter_announced(listener, &connection, &header);
		else if (r == 0 || r == -EPROTO)
			accept_refuse(listener, &connection, REFUSE_PROXY);
		else
			accept_note_empty(listener, &connection, r);
	}
}

/* Returns 0, -EAGAIN if there is no more, or -errno. */
static int accept_one(struct listener *listener, uint32_t socket)
{
	struct connection connection = { .socket = socket };
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);

	connection.fd = sys_accept(listener->sockets[socket], (struct sockaddr *)&peer, &length);
	if (connection.fd < 0)
		return connection.fd;
	accept_enter(listener, &connection, &peer);
	return 0;
}

/*
 * True for errors of the one connection that was to be accepted (accept(2)): the next may succeed.
 */
static bool is_transient(int error)
{
	return error == -ECONNABORTED || error == -EINTR || error == -EPROTO || error == -EPERM ||
	       error == -ENOPROTOOPT || error == -EOPNOTSUPP || error == -ENETDOWN ||
	       error == -ENETUNREACH || error == -EHOSTDOWN || error == -EHOSTUNREACH ||
	       error == -ENONET;
}

void accept_turn(struct listener *listener, uint32_t socket)
{
	assert(socket < listener->settings->socket_count);
	for (int i = 0; i < ACCEPT_BATCH && accept_is_open(listener); i++) {
		int r = accept_one(listener, socket);

		if (r == -EAGAIN)
			return;
		/* a resource is short or the socket is broken: trying again at once would spin */
		if (r < 0 && !is_transient(r)) {
			events_starve(listener, r, clock_now_ns());
			return;
		}
	}
}

void accept_single(struct listener *listener)
{
	struct connection connection = { .fd = fd_steal(&listener->sockets[0]),
					 .flags = WORKER_OPTIONS };
	struct sockaddr_storage peer = {0};
	socklen_t length = sizeof(peer);

	assert(listener->settings->mode == MODE_SINGLE);
	listener->is_stopping = true;
	if (connection.fd < 0)		/* a datagram socket, which its process has */
		return;
	if (sys_getpeername(connection.fd, (struct sockaddr *)&peer, &length) < 0)
		peer.ss_family = AF_UNSPEC;
	accept_enter(listener, &connection, &peer);
}
