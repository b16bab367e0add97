/* SPDX-License-Identifier: MIT */
/* One message there and back. */
#include "echoctl/probe/exchange.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "echoctl/probe/interrupt.h"

#define CHUNK_BYTES 65536

int exchange_wait(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd polls[] = {
		{ .fd = fd, .events = events },
		{ .fd = interrupt_fd(), .events = POLLIN },
	};

	for (;;) {
		uint64_t now_ns = clock_now_ns();
		uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
		struct timespec timeout = {
			.tv_sec = (time_t)(left_ns / CLOCK_NS_PER_S),
			.tv_nsec = (long)(left_ns % CLOCK_NS_PER_S),
		};
		int ready = ppoll(polls, 2, &timeout, NULL);
		int ended = interrupt_ended();

		if (ready < 0 && errno != EINTR)
			return -errno;
		if (ended < 0)
			return ended;
		/* What is ready counts no more when it is too late. */
		if (ready == 0 || clock_now_ns() > deadline_ns)
			return -ETIMEDOUT;
		if (ready > 0 && polls[0].revents)
			return polls[0].revents;
	}
}

/* Sends what goes. Returns 0 or -errno. */
static int send_some(int fd, const uint8_t *bytes, size_t size, bool half_close,
		     struct exchange *exchange)
{
	ssize_t sent = send(fd, bytes + exchange->sent_bytes, size - exchange->sent_bytes,
			    MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	exchange->sent_bytes += (size_t)sent;
	if (exchange->sent_bytes == size) {
		exchange->phase = "echo";
		if (half_close && shutdown(fd, SHUT_WR) < 0)
			return -errno;
	}
	return 0;
}

static size_t count_equal(const uint8_t *one, const uint8_t *two, size_t size)
{
	size_t equal = 0;

	while (equal < size && one[equal] == two[equal])
		equal++;
	return equal;
}

/* Takes what came. Returns 1 at the right end, 0 when more is to come, -errno. */
static int take_some(int fd, const uint8_t *bytes, size_t size, bool half_close,
		     struct exchange *exchange)
{
	uint8_t chunk[CHUNK_BYTES];
	size_t equal;
	ssize_t got = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (got == 0)
		return exchange->received_bytes == size && half_close ? 1 : -ENODATA;
	/* Only what was sent may come back. */
	equal = exchange->sent_bytes - exchange->received_bytes;
	equal = count_equal(chunk, bytes + exchange->received_bytes,
			    (size_t)got < equal ? (size_t)got : equal);
	exchange->received_bytes += equal;
	if (equal < (size_t)got)
		return -EBADMSG;
	if (exchange->received_bytes < size)
		return 0;
	if (!half_close)
		return 1;
	exchange->phase = "eof";
	return 0;
}

int exchange_run(int fd, const uint8_t *bytes, size_t size, bool half_close, uint64_t deadline_ns,
		 struct exchange *ret_exchange)
{
	int result = 0;

	*ret_exchange = (struct exchange){ .phase = "send" };
	while (result == 0) {
		bool sends = ret_exchange->sent_bytes < size;
		int ready = exchange_wait(fd, (short)(POLLIN | (sends ? POLLOUT : 0)), deadline_ns);

		if (ready < 0)
			return ready;
		/* First what has come: an error of sending must not hide it. */
		if (ready & (POLLIN | POLLHUP | POLLERR))
			result = take_some(fd, bytes, size, half_close, ret_exchange);
		if (result == 0 && sends && ready & POLLOUT)
			result = send_some(fd, bytes, size, half_close, ret_exchange);
	}
	if (result < 0)
		return result;
	ret_exchange->ended_ns = clock_now_ns();
	return ret_exchange->ended_ns > deadline_ns ? -ETIMEDOUT : 0;
}

const char *exchange_why(int error)
{
	switch (error) {
	case -ENODATA:
		return "the peer closed the connection";
	case -EBADMSG:
		return "other bytes came back than were sent";
	case -ETIMEDOUT:
		return "no answer in time";
	case -EINTR:
		return "interrupted";
	default:
		return strerror(-error);
	}
}
