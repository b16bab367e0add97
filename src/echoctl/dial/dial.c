/* SPDX-License-Identifier: MIT */
/* Connects to the first of several addresses that answers (happy eyeballs, RFC 8305). */
#include "echoctl/dial/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/probe/interrupt.h"

#define NS_PER_MS 1000000u
#define SLICE_US 200000u	/* between looks for an interrupt, which no connect waits for */

/* The attempts under way. */
struct race {
	const struct dial_options *options;
	struct dial *dial;
	uint64_t deadline_ns;
	uint64_t next_ns;		/* when the next attempt may start */
	size_t n_pending;
	int fds[DIAL_ADDRESSES_MAX];	/* by attempt, -1: over */
};

struct dial_options dial_options(const struct globals *globals)
{
	return (struct dial_options){
		.family = globals->family,
		.timeout_us = globals->connect_timeout_us,
	};
}

bool dial_is_source(const char *text)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST};
	struct addrinfo *list;

	if (getaddrinfo(text, NULL, &hints, &list) != 0)
		return false;
	freeaddrinfo(list);
	return true;
}

/* Binds to the source, which must be of the family of the target. Returns 0 or -errno. */
static int bind_source(int fd, int family, const char *source)
{
	struct addrinfo hints = {
		.ai_family = family,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_PASSIVE,
	};
	struct addrinfo *list;
	int r = 0;

	if (getaddrinfo(source, NULL, &hints, &list) != 0)
		return -EAFNOSUPPORT;
	if (bind(fd, list->ai_addr, list->ai_addrlen) < 0)
		r = -errno;
	freeaddrinfo(list);
	return r;
}

static int prepare_socket(int fd, int family, const struct dial_options *options)
{
	int bytes = options->receive_buffer_bytes;

	if (bytes > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) < 0)
		return -errno;
	if (options->source != NULL && family != AF_UNIX)
		return bind_source(fd, family, options->source);
	return 0;
}

/*
 * A Unix connect that finds the backlog full fails at once on a non-blocking socket; a
 * blocking one waits as long as SO_SNDTIMEO says (unix(7)), and heeds no blocked signal.
 */
static int connect_unix(int fd, const struct dial_address *address,
			const struct dial_options *options)
{
	uint64_t left_us = options->timeout_us;
	int r = -EAGAIN;

	while (r == -EAGAIN && left_us > 0) {
		uint64_t slice_us = left_us < SLICE_US ? left_us : SLICE_US;

		r = interrupt_ended();
		if (r < 0)
			return r;
		r = fd_set_send_timeout(fd, slice_us);
		if (r == 0 && connect(fd, (const struct sockaddr *)&address->address,
				      address->length) < 0)
			r = -errno;
		left_us -= slice_us;
	}
	if (r < 0)
		return r == -EAGAIN ? -ETIMEDOUT : r;
	r = fd_set_send_timeout(fd, 0);
	return r < 0 ? r : fd_set_nonblocking(fd, true);
}

int dial_start(const struct dial_address *address, const struct dial_options *options,
	       enum dial_phase *ret_phase)
{
	int family = address->address.ss_family;
	bool waits = family == AF_UNIX && !options->at_once;
	int type = SOCK_STREAM | SOCK_CLOEXEC | (waits ? 0 : SOCK_NONBLOCK);
	FD_CLEANUP int fd = -1;
	int r;

	*ret_phase = DIAL_SOCKET;
	fd = socket(family, type, 0);
	if (fd < 0)
		return -errno;
	r = prepare_socket(fd, family, options);
	if (r < 0)
		return r;
	*ret_phase = DIAL_CONNECT;
	if (waits) {
		r = connect_unix(fd, address, options);
		if (r < 0)
			return r;
	} else if (connect(fd, (const struct sockaddr *)&address->address, address->length) < 0 &&
		   errno != EINPROGRESS) {
		return -errno;
	}
	return fd_steal(&fd);
}

/* One attempt is over: error 0 makes it the winner. */
static void end_attempt(struct race *race, size_t i, enum dial_phase phase, int error)
{
	struct dial *dial = race->dial;
	struct dial_attempt *attempt = &dial->attempts[i];

	attempt->ended_ns = clock_now_ns();
	attempt->phase = error == 0 ? DIAL_DONE : phase;
	attempt->error = error;
	if (error == 0) {
		dial->fd = fd_steal(&race->fds[i]);
		dial->winner = i;
		dial->connected_ns = attempt->ended_ns;
		dial->phase = DIAL_DONE;
	} else if (error != ECANCELED) {
		dial->phase = phase;
		dial->error = error;
		dial->why = strerror(error);
	}
	race->fds[i] = fd_close(race->fds[i]);
}

static void start_attempt(struct race *race)
{
	struct dial *dial = race->dial;
	size_t i = dial->n_attempts++;
	struct dial_attempt *attempt = &dial->attempts[i];
	enum dial_phase phase;
	int fd;

	*attempt = (struct dial_attempt){
		.target = dial->addresses[i],
		.phase = DIAL_CONNECT,
		.started_ns = clock_now_ns(),
	};
	race->next_ns = attempt->started_ns + (uint64_t)DIAL_STAGGER_MS * NS_PER_MS;
	fd = dial_start(&attempt->target, race->options, &phase);
	race->fds[i] = fd < 0 ? -1 : fd;
	if (fd < 0)
		end_attempt(race, i, phase, -fd);
	else
		race->n_pending++;
}

static int wait_ms(const struct race *race, bool more)
{
	uint64_t until_ns = race->deadline_ns;
	uint64_t now_ns = clock_now_ns();
	uint64_t ms;

	if (more && race->next_ns < until_ns)
		until_ns = race->next_ns;
	ms = until_ns <= now_ns ? 0 : (until_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
	return ms < INT_MAX ? (int)ms : INT_MAX;
}

/* Waits for any pending attempt to end, or for the next moment to act. */
static void wait_attempts(struct race *race, bool more)
{
	struct pollfd polled[DIAL_ADDRESSES_MAX + 1];
	size_t n = race->dial->n_attempts;
	socklen_t length = sizeof(int);
	int error;

	for (size_t i = 0; i < n; i++)
		polled[i] = (struct pollfd){.fd = race->fds[i], .events = POLLOUT};
	polled[n] = (struct pollfd){.fd = interrupt_fd(), .events = POLLIN};
	if (poll(polled, n + 1, wait_ms(race, more)) <= 0)
		return;
	for (size_t i = 0; i < n && race->dial->phase != DIAL_DONE; i++) {
		if (polled[i].fd < 0 || polled[i].revents == 0)
			continue;
		error = 0;
		if (getsockopt(polled[i].fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
			error = errno;
		race->n_pending--;
		end_attempt(race, i, DIAL_CONNECT, error);
		race->next_ns = 0;
	}
}

int dial_connect(const struct dial_options *options, struct dial *dial)
{
	struct race race = {
		.options = options,
		.dial = dial,
		.deadline_ns = dial->started_ns + options->timeout_us * 1000,
	};
	int late = ETIMEDOUT;

	/* not beyond the last attempt: one that fails at once leaves nothing to wait for */
	while (dial->phase != DIAL_DONE &&
	       (dial->n_attempts < dial->n_addresses || race.n_pending > 0)) {
		bool more = dial->n_attempts < dial->n_addresses;

		if (interrupt_ended() < 0) {
			late = -interrupt_ended();
			break;
		}
		if (more && (race.n_pending == 0 || clock_now_ns() >= race.next_ns))
			start_attempt(&race);
		else if (clock_now_ns() >= race.deadline_ns)
			break;
		else
			wait_attempts(&race, more);
	}
	for (size_t i = 0; i < dial->n_attempts; i++) {
		if (race.fds[i] >= 0)
			end_attempt(&race, i, DIAL_CONNECT,
				    dial->phase == DIAL_DONE ? ECANCELED : late);
	}
	if (dial->phase == DIAL_DONE)
		return 0;
	if (late == EINTR || dial->n_attempts == 0) {
		dial->error = late;
		dial->why = strerror(late);
	}
	return -dial->error;
}
