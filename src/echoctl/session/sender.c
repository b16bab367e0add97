/* SPDX-License-Identifier: MIT */
/* Takes the input, records it, sends it, ends it with a FIN. */
#include "echoctl/session/sender.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define BUFFER_BYTES (128u * 1024u)

/* Waits for events on fd. Returns 0, -ECANCELED when the receiver is gone, or -errno. */
static int wait_for(const struct sender *sender, int fd, short events)
{
	struct pollfd polled[] = {
		{.fd = sender->receiver_fd, .events = POLLIN},
		{.fd = fd, .events = events},
	};

	if (poll(polled, 2, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	return polled[0].revents != 0 ? -ECANCELED : 0;
}

/*
 * Whether the input is at its end when the receiver wants no more of it: a server that ends the
 * connection with the last byte may be faster than the look for more input.
 */
static bool input_has_ended(int input_fd)
{
	struct pollfd polled = {.fd = input_fd, .events = POLLIN};
	char byte;

	return poll(&polled, 1, 0) > 0 && read(input_fd, &byte, 1) == 0;
}

/* One read of the input, as soon as there is any. Returns its size, 0 at the end, -errno. */
static ssize_t read_input(const struct sender *sender, void *buffer, bool at_line_start)
{
	const struct session_options *options = sender->options;
	const char *text = buffer;
	ssize_t n;
	int r;

	do {
		r = wait_for(sender, options->input_fd, POLLIN);
		if (r == -ECANCELED && input_has_ended(options->input_fd))
			return 0;
		if (r < 0)
			return r;
		n = read(options->input_fd, buffer, BUFFER_BYTES);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	if (n < 0)
		return -errno;
	/* A terminal hands over whole lines (termios(3), canonical mode). */
	if (options->input_is_terminal && at_line_start && n == 2 && text[1] == '\n' &&
	    (text[0] == 'q' || text[0] == 'Q'))
		return 0;
	return n;
}

static ssize_t fill_pattern(const struct sender *sender, void *buffer, uint64_t offset)
{
	uint64_t left = sender->options->pattern_bytes - offset;
	size_t size = left < BUFFER_BYTES ? (size_t)left : BUFFER_BYTES;

	pattern_fill(sender->options->pattern, offset, buffer, size);
	return (ssize_t)size;
}

/* Sends all of it, however long the peer takes: the receiver watches the time. */
static int send_all(const struct sender *sender, const char *bytes, size_t size)
{
	struct sender_counters *counters = sender->counters;
	uint64_t before_ns = counters->progress_ns;
	ssize_t n;
	int r;

	while (size > 0) {
		n = send(sender->socket_fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN) {
			r = wait_for(sender, sender->socket_fd, POLLOUT);
			if (r < 0)
				return r;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		counters->progress_ns = clock_now_ns();
		if (counters->first_sent_ns == 0)
			counters->first_sent_ns = before_ns;
		counters->sent += (uint64_t)n;
		bytes += n;
		size -= (size_t)n;
	}
	return 0;
}

static void fail(const struct sender *sender, enum sender_state state, int error)
{
	if (error == ECANCELED)
		return;
	sender->counters->error = error;
	sender->counters->state = state;
}

/* Records the bytes before they are sent: their echo must not be there first. */
static int push(const struct sender *sender, const char *bytes, size_t size)
{
	int r = 0;

	sender->counters->progress_ns = clock_now_ns();
	sender->counters->state = SENDER_SENDING;
	if (sender->inflight)
		r = inflight_put(sender->inflight, bytes, size);
	if (r < 0)
		fail(sender, SENDER_BROKEN, -r);
	return r < 0 ? -ECANCELED : send_all(sender, bytes, size);
}

static void finish(const struct sender *sender)
{
	struct sender_counters *counters = sender->counters;
	uint64_t before_ns = clock_now_ns();

	counters->progress_ns = before_ns;
	if (sender->options->fin) {
		if (shutdown(sender->socket_fd, SHUT_WR) < 0) {
			counters->error = errno;
			counters->state = SENDER_FAILED;
			return;
		}
		counters->fin_ns = before_ns;
	}
	counters->state = SENDER_FINISHED;
}

void sender_run(const struct sender *sender)
{
	static char buffer[BUFFER_BYTES];
	bool at_line_start = true;
	uint64_t offset = 0;
	ssize_t n;
	int r;

	for (;;) {
		sender->counters->state = SENDER_WAITING;
		if (sender->options->input_fd == SESSION_INPUT_PATTERN)
			n = fill_pattern(sender, buffer, offset);
		else
			n = read_input(sender, buffer, at_line_start);
		if (n < 0) {
			fail(sender, SENDER_INPUT_FAILED, (int)-n);
			return;
		}
		if (n == 0)
			break;
		at_line_start = buffer[n - 1] == '\n';
		offset += (uint64_t)n;
		r = push(sender, buffer, (size_t)n);
		if (r < 0) {
			fail(sender, SENDER_FAILED, -r);
			return;
		}
	}
	finish(sender);
}
