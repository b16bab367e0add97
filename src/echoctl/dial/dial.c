/* SPDX-License-Identifier: MIT */
/* Connects to the first of several addresses that answers (happy eyeballs, RFC 8305). */
#include "echoctl/dial/dial.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/probe/interrupt.h"

#define STAGGER_NS (DIAL_STAGGER_MS * UINT64_C(1000000))
#define LOOK_NS 10000000u	/* between looks at a Unix socket whose backlog is full */

struct dial_options dial_options(const struct globals *globals)
{
	return (struct dial_options){
		.family = globals->family,
		.udp = globals->udp,
		.timeout_us = globals->connect_timeout_us,
		.path = &dial_path,
	};
}

static int prepare_socket(int fd, int family, const struct dial_options *options)
{
	int bytes = options->receive_buffer_bytes;

	if (bytes > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) < 0)
		return -errno;
	return dial_path_apply(fd, family, options->path);
}

/*
 * Starts to connect. A Unix socket with a full backlog refuses at once (unix(7)), and no event
 * tells when there is room again. Returns 0 or -errno.
 */
static int connect_socket(int fd, const struct dial_address *address,
			  const struct dial_options *options)
{
	const struct sockaddr *to = (const struct sockaddr *)&address->address;
	uint64_t deadline_ns = clock_now_ns() + options->timeout_us * 1000;
	struct pollfd polled;

	while (connect(fd, to, address->length) < 0 && errno != EINPROGRESS) {
		if (errno != EAGAIN || to->sa_family != AF_UNIX || options->at_once)
			return -errno;
		interrupt_poll(&polled, 0, clock_now_ns() + LOOK_NS);
		if (interrupt_ended() < 0)
			return interrupt_ended();
		if (clock_now_ns() >= deadline_ns)
			return -ETIMEDOUT;
	}
	return 0;
}

int dial_start(const struct dial_address *address, const struct dial_options *options,
	       enum dial_phase *ret_phase)
{
	int family = address->address.ss_family;
	int type = options->udp ? SOCK_DGRAM : SOCK_STREAM;
	FD_CLEANUP int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK,
				   dial_path_protocol(options->path, family));
	int r;

	*ret_phase = DIAL_SOCKET;
	if (fd < 0)
		return -errno;
	r = prepare_socket(fd, family, options);
	if (r < 0)
		return r;
	*ret_phase = DIAL_CONNECT;
	r = connect_socket(fd, address, options);
	return r < 0 ? r : fd_steal(&fd);
}

/* One attempt is over: error 0 makes it the winner. */
static void end_attempt(struct dial *dial, struct dial_attempt *attempt, int error)
{
	attempt->ended_ns = clock_now_ns();
	attempt->error = error;
	if (error == 0) {
		attempt->phase = DIAL_DONE;
		dial->fd = fd_steal(&attempt->fd);
		dial->winner = (size_t)(attempt - dial->attempts);
		dial->phase = DIAL_DONE;
	} else if (error != ECANCELED) {
		dial->phase = attempt->phase;
		dial->error = error;
		dial->why = strerror(error);
	}
	attempt->fd = fd_close(attempt->fd);
}

static void start_attempt(struct dial *dial, const struct dial_options *options)
{
	struct dial_attempt *attempt = &dial->attempts[dial->n_attempts];

	*attempt = (struct dial_attempt){
		.target = dial->addresses[dial->n_attempts++],
		.started_ns = clock_now_ns(),
	};
	attempt->fd = dial_start(&attempt->target, options, &attempt->phase);
	if (attempt->fd < 0)
		end_attempt(dial, attempt, -attempt->fd);
}

static bool is_pending(const struct dial *dial)
{
	for (size_t i = 0; i < dial->n_attempts; i++) {
		if (dial->attempts[i].fd >= 0)
			return true;
	}
	return false;
}

/* Waits for pending attempts until then. Returns whether one has ended. */
static bool wait_attempts(struct dial *dial, uint64_t until_ns)
{
	struct pollfd polled[DIAL_ADDRESSES_MAX + 1];
	size_t n = dial->n_attempts;
	socklen_t length = sizeof(int);
	bool any = false;

	for (size_t i = 0; i < n; i++)
		polled[i] = (struct pollfd){ .fd = dial->attempts[i].fd, .events = POLLOUT };
	if (interrupt_poll(polled, n, until_ns) <= 0)
		return false;
	for (size_t i = 0; i < n && dial->phase != DIAL_DONE; i++) {
		int error = 0;

		if (polled[i].fd < 0 || polled[i].revents == 0)
			continue;
		if (getsockopt(polled[i].fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
			error = errno;
		end_attempt(dial, &dial->attempts[i], error);
		any = true;
	}
	return any;
}

int dial_connect(const struct dial_options *options, struct dial *dial)
{
	uint64_t deadline_ns = dial->started_ns + options->timeout_us * 1000;
	uint64_t next_ns = 0;		/* when the next attempt may start */
	int late = ETIMEDOUT;

	assert(dial->phase != DIAL_DONE && dial->n_attempts == 0);
	while (dial->phase != DIAL_DONE) {
		bool more = dial->n_attempts < dial->n_addresses;
		bool pending = is_pending(dial);
		uint64_t now_ns = clock_now_ns();

		/* An attempt that failed at once leaves nothing to wait for. */
		if (!more && !pending)
			break;
		if (interrupt_ended() < 0) {
			late = -interrupt_ended();
			break;
		}
		if (more && (!pending || now_ns >= next_ns)) {
			start_attempt(dial, options);
			next_ns = now_ns + STAGGER_NS;
		} else if (now_ns >= deadline_ns) {
			break;
		} else if (wait_attempts(dial, more && next_ns < deadline_ns ?
					 next_ns : deadline_ns)) {
			next_ns = 0;
		}
	}
	for (size_t i = 0; i < dial->n_attempts; i++) {
		if (dial->attempts[i].fd >= 0)
			end_attempt(dial, &dial->attempts[i],
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

static const char *const phase_names[] = {
	[DIAL_RESOLVE] = "resolve",
	[DIAL_SOCKET] = "socket",
	[DIAL_CONNECT] = "connect",
	[DIAL_DONE] = "connected",
};

const char *dial_phase_name(enum dial_phase phase)
{
	return phase_names[phase];
}

const char *dial_address_format(const struct dial_address *address, char text[ADDRESS_TEXT_MAX])
{
	return address_format((const struct sockaddr *)&address->address, address->length, text);
}

const char *dial_peer(const struct dial *dial, char text[ADDRESS_TEXT_MAX])
{
	if (dial->phase == DIAL_DONE)
		return dial_address_format(&dial->attempts[dial->winner].target, text);
	text[0] = '\0';
	return text;
}

static void report_one(struct report *report, const struct address_spec *target,
		       const char *address, const char *phase, int error, const char *why)
{
	if (address && strcmp(address, target->host) != 0 && !target->is_unix)
		report_error(report, "%s (%s): %s: %s", target->host, address, phase, why);
	else
		report_error(report, "%s: %s: %s", target->host, phase, why);
	report_failure(report, target->host, address, phase, error, why);
}

void dial_report_failure(struct report *report, const struct address_spec *target,
			 const struct dial *dial)
{
	char text[ADDRESS_TEXT_MAX];

	if (dial->n_attempts == 0)
		report_one(report, target, NULL, dial_phase_name(dial->phase), dial->error,
			   dial->why);
	for (size_t i = 0; i < dial->n_attempts; i++) {
		const struct dial_attempt *attempt = &dial->attempts[i];

		report_one(report, target, dial_address_format(&attempt->target, text),
			   dial_phase_name(attempt->phase), attempt->error,
			   strerror(attempt->error));
	}
}

int dial_status(const struct dial *dial)
{
	if (dial->error == EINTR)
		return STATUS_FAILED;
	for (size_t i = 0; i < dial->n_attempts; i++) {
		const struct dial_attempt *attempt = &dial->attempts[i];

		if (attempt->phase == DIAL_CONNECT && attempt->error != ENOMEM)
			return STATUS_UNREACHED;
	}
	return dial->local || dial->n_attempts > 0 ? STATUS_LOCAL : STATUS_UNREACHED;
}

int dial_target(struct report *report, const struct address_spec *target,
		const struct dial_options *options, struct dial *ret_dial)
{
	if (dial_resolve(target, options, ret_dial) < 0 || dial_connect(options, ret_dial) < 0) {
		dial_report_failure(report, target, ret_dial);
		return dial_status(ret_dial);
	}
	return COMMAND_PROCEED;
}
