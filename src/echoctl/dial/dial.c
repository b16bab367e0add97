/* SPDX-License-Identifier: MIT */
/* Connects to the first of several addresses that answers (happy eyeballs, RFC 8305). */
#include "echoctl/dial/dial.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/cidr.h"
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

struct dial_options dial_options_within(const struct globals *globals, uint64_t timeout_us)
{
	struct dial_options options = dial_options(globals);

	if (timeout_us < options.timeout_us || !globals->connect_timeout_given)
		options.timeout_us = timeout_us;
	return options;
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
		dial->why = report_why(error);
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

/*
 * Starts the attempts that are due. Returns whether it is still on its way; then *wake_ns is no
 * later than the time to look again.
 */
static bool advance(struct dial *dial, const struct dial_options *options, uint64_t *wake_ns)
{
	uint64_t deadline_ns = dial->started_ns + options->timeout_us * 1000;

	while (dial->phase != DIAL_DONE) {
		bool more = dial->n_attempts < dial->n_addresses;
		bool pending = is_pending(dial);
		uint64_t now_ns = clock_now_ns();

		/* An attempt that failed at once leaves nothing to wait for. */
		if (more && (!pending || now_ns >= dial->next_ns)) {
			start_attempt(dial, options);
			dial->next_ns = now_ns + STAGGER_NS;
		} else if (!pending || now_ns >= deadline_ns) {
			break;
		} else {
			if (more && dial->next_ns < *wake_ns)
				*wake_ns = dial->next_ns;
			if (deadline_ns < *wake_ns)
				*wake_ns = deadline_ns;
			return true;
		}
	}
	return false;
}

/* It has connected, or has failed for good: late is the errno of what still waits. */
static void conclude(struct dial *dial, int late)
{
	for (size_t i = 0; i < dial->n_attempts; i++) {
		if (dial->attempts[i].fd >= 0)
			end_attempt(dial, &dial->attempts[i],
				    dial->phase == DIAL_DONE ? ECANCELED : late);
	}
	if (dial->phase == DIAL_CONNECT && (late == EINTR || dial->n_attempts == 0)) {
		dial->error = late;
		dial->why = report_why(late);
	}
}

/* What to wait for. Returns how many entries of polled it took. */
static nfds_t collect(const struct dial *dial, struct pollfd *polled)
{
	nfds_t n = 0;

	for (size_t i = 0; i < dial->n_attempts; i++) {
		if (dial->attempts[i].fd >= 0)
			polled[n++] = (struct pollfd){
				.fd = dial->attempts[i].fd, .events = POLLOUT,
			};
	}
	return n;
}

/* Takes what has come; polled as collect() left it. Returns how many entries it was. */
static nfds_t take_events(struct dial *dial, const struct dial_options *options,
			  const struct pollfd *polled)
{
	socklen_t length = sizeof(int);
	nfds_t n = 0;

	for (size_t i = 0; i < dial->n_attempts; i++) {
		struct dial_attempt *attempt = &dial->attempts[i];
		int error = 0;

		if (attempt->fd < 0 || polled[n++].revents == 0 || dial->phase == DIAL_DONE)
			continue;
		if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
			error = errno;
		if (error == 0 && options->path && !options->udp)
			error = -dial_announce(attempt->fd, &options->path->announcement);
		end_attempt(dial, attempt, error);
		dial->next_ns = 0;
	}
	return n;
}

/* Returns whether some are still on their way. */
static bool advance_all(const struct dial_options *options, struct dial *dials, size_t count,
			struct pollfd *polled)
{
	uint64_t wake_ns = UINT64_MAX;
	nfds_t n = 0;

	for (size_t i = 0; i < count; i++) {
		if (dials[i].phase == DIAL_RESOLVE || dials[i].phase == DIAL_DONE)
			continue;
		if (!advance(&dials[i], options, &wake_ns))
			conclude(&dials[i], ETIMEDOUT);
		n += collect(&dials[i], polled + n);
	}
	if (n == 0 || interrupt_poll(polled, n, wake_ns) <= 0)
		return n > 0;
	n = 0;
	for (size_t i = 0; i < count; i++) {
		n += take_events(&dials[i], options, polled + n);
		if (dials[i].phase == DIAL_DONE)
			conclude(&dials[i], ECANCELED);
	}
	return true;
}

/* Connects many at once; those that were not resolved stay as they are. */
static void connect_all(const struct dial_options *options, struct dial *dials, size_t count)
{
	struct pollfd *polled = calloc(count * DIAL_ADDRESSES_MAX + 1, sizeof(*polled));
	int late = ENOMEM;

	while (polled) {
		late = -interrupt_ended();
		if (late != 0 || !advance_all(options, dials, count, polled))
			break;
	}
	free(polled);
	for (size_t i = 0; late != 0 && i < count; i++)
		conclude(&dials[i], late);
}

int dial_connect(const struct dial_options *options, struct dial *dial)
{
	assert(dial->phase != DIAL_DONE && dial->n_attempts == 0);
	connect_all(options, dial, 1);
	return dial->phase == DIAL_DONE ? 0 : -dial->error;
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

bool dial_is_private(const struct dial_address *address)
{
	static const char *const prefixes[] = {
		"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
		"::1", "fc00::/7", "fe80::/10",
	};
	const struct sockaddr_in *in = (const struct sockaddr_in *)&address->address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address->address;
	uint8_t bytes[16] = { [10] = 0xff, [11] = 0xff };	/* IPv4 mapped */
	bool found = address->address.ss_family == AF_UNIX;
	struct cidr prefix;

	if (address->address.ss_family == AF_INET6)
		memcpy(bytes, &in6->sin6_addr, sizeof(bytes));
	else
		memcpy(bytes + 12, &in->sin_addr, sizeof(in->sin_addr));
	for (size_t i = 0; !found && i < sizeof(prefixes) / sizeof(*prefixes); i++)
		found = cidr_parse(prefixes[i], &prefix, NULL) == 0 &&
			cidr_contains(prefix.prefix, prefix.bits, bytes);
	return found;
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
			   report_why(attempt->error));
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

void dial_raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

void dial_targets(const struct target *targets, size_t count, const struct dial_options *options,
		  struct dial *ret_dials)
{
	if (count > 1)
		dial_raise_limit();
	for (size_t i = 0; i < count; i++)
		dial_resolve(&targets[i].spec, options, &ret_dials[i]);
	/* The time that the look-ups of others took is not the target's. */
	for (size_t i = 0; i < count; i++) {
		uint64_t waited_ns = clock_now_ns() - ret_dials[i].resolved_ns;

		ret_dials[i].started_ns += waited_ns;
		ret_dials[i].resolved_ns += waited_ns;
	}
	connect_all(options, ret_dials, count);
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
