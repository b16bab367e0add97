/* SPDX-License-Identifier: MIT */
/* One connection that carries probes. */
#include "echoctl/ping/link.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/dial/path.h"
#include "echoctl/probe/payload.h"

int ping_link_open(struct ping_link *link, int fd, size_t size_bytes, size_t capacity)
{
	assert(fd >= 0 && capacity > 0);
	*link = (struct ping_link){
		.fd = fd,
		.size_bytes = size_bytes,
		.out = malloc(size_bytes),
		.out_bytes = size_bytes,
		.in = malloc(size_bytes),
		.window = calloc(capacity, sizeof(*link->window)),
		.capacity = capacity,
	};
	if (!link->out || !link->in || !link->window) {
		ping_link_close(link);
		return -ENOMEM;
	}
	/*
	 * A probe must not wait for the echo of the one before (RFC 896). Unix sockets refuse that.
	 */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	return 0;
}

void ping_link_close(struct ping_link *link)
{
	free(link->out);
	free(link->in);
	free(link->window);
	fd_close(link->fd);
	*link = (struct ping_link){ .fd = -1 };
}

struct ping_probe *ping_link_probe(const struct ping_link *link, size_t index)
{
	return &link->window[(link->oldest + index) % link->capacity];
}

void ping_link_drop(struct ping_link *link)
{
	assert(link->count > 0);
	link->oldest = (link->oldest + 1) % link->capacity;
	link->count--;
	if (link->overdue > 0)
		link->overdue--;
}

bool ping_link_blocked(const struct ping_link *link)
{
	return link->out_bytes < link->size_bytes;
}

int ping_link_flush(struct ping_link *link)
{
	while (ping_link_blocked(link)) {
		ssize_t sent = send(link->fd, link->out + link->out_bytes,
				    link->size_bytes - link->out_bytes,
				    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent >= 0)
			link->out_bytes += (size_t)sent;
		else if (errno == EAGAIN)
			return 0;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* Begins to send the youngest probe. */
static int transmit(struct ping_link *link)
{
	struct ping_probe *probe = ping_link_probe(link, link->count - 1);

	probe->sent_ns = clock_now_ns();
	probe->stopped_ns = 0;
	payload_fill(link->out, link->size_bytes, probe->sequence, probe->sent_ns);
	link->out_bytes = 0;
	return ping_link_flush(link);
}

int ping_link_send(struct ping_link *link, uint64_t sequence)
{
	if (ping_link_blocked(link) || link->count == link->capacity)
		return -EAGAIN;
	*ping_link_probe(link, link->count++) = (struct ping_probe){
		.sequence = sequence,
		.sent_ns = link->started_ns,
	};
	return link->connecting ? 0 : transmit(link);
}

int ping_link_connected(struct ping_link *link)
{
	int error = 0;

	getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof(error)});
	if (error == 0)
		error = -dial_announce(link->fd, &dial_path.announcement);
	if (error != 0)
		return -error;
	link->connecting = false;
	link->connected_ns = clock_now_ns();
	link->overdue = 0;
	return transmit(link);
}

/* Reads more of a probe. Returns 1 if it is complete, 0 if not yet, -errno. */
static int fill(struct ping_link *link)
{
	while (link->in_bytes < link->size_bytes) {
		ssize_t got = recv(link->fd, link->in + link->in_bytes,
				   link->size_bytes - link->in_bytes, MSG_DONTWAIT);

		if (got == 0)
			return -ENODATA;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (link->count == 0)
			return -EBADMSG;
		link->in_bytes += (size_t)got;
	}
	payload_look(link->in, link->size_bytes);
	return 1;
}

/* The offset at which the echo differs from the index-th unanswered probe; size_bytes: none. */
static size_t compare(const struct ping_link *link, size_t index)
{
	const struct ping_probe *probe = ping_link_probe(link, index);

	return payload_mismatch(link->in, link->size_bytes, probe->sequence, probe->sent_ns);
}

static bool is_of_later_probe(const struct ping_link *link)
{
	size_t i = 1;

	while (i < link->count && compare(link, i) < link->size_bytes)
		i++;
	return i < link->count;
}

int ping_link_receive(struct ping_link *link, struct ping_reply *ret_reply)
{
	int r = fill(link);

	if (r <= 0)
		return r;
	*ret_reply = (struct ping_reply){
		.probe = *ping_link_probe(link, 0),
		.offset_bytes = compare(link, 0),
	};
	ret_reply->rtt_ns = clock_now_ns() - ret_reply->probe.sent_ns;
	if (ret_reply->offset_bytes < link->size_bytes && is_of_later_probe(link)) {
		ret_reply->result = PING_LOST;
		ret_reply->why = "a later probe came back";
	} else if (ret_reply->offset_bytes < link->size_bytes) {
		ret_reply->result = PING_CORRUPT;
		ret_reply->why = "differs";
	} else if (link->capacity == 1 &&
		   recv(link->fd, &(char){0}, 1, MSG_DONTWAIT | MSG_PEEK) > 0) {
		ret_reply->result = PING_CORRUPT;
		ret_reply->why = "more bytes than sent";
	}
	ping_link_drop(link);
	/* A probe that overtook others stays until its turn comes. */
	if (ret_reply->result != PING_LOST)
		link->in_bytes = 0;
	return 1;
}
