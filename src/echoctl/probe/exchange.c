/* SPDX-License-Identifier: MIT */
/* One message there and back. */
#include "echoctl/probe/exchange.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "echoctl/output/report.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/probe/payload.h"

#define CHUNK_BYTES 262144

int exchange_wait(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd polls[2] = { { .fd = fd, .events = events } };

	for (;;) {
		int ready = interrupt_poll(polls, 1, deadline_ns);
		int ended = interrupt_ended();

		if (ready < 0 || ended < 0)
			return ready < 0 ? ready : ended;
		/* Input after the deadline is too late. */
		if (clock_now_ns() > deadline_ns)
			return -ETIMEDOUT;
		if (ready > 0 && polls[0].revents)
			return polls[0].revents;
	}
}

int exchange_send(int fd, struct exchange *exchange)
{
	ssize_t sent;

	assert(exchange->sent_bytes < exchange->size);
	sent = send(fd, exchange->bytes + exchange->sent_bytes,
		    exchange->size - exchange->sent_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	exchange->sent_bytes += (size_t)sent;
	if (exchange->sent_bytes == exchange->size) {
		exchange->phase = "echo";
		if (exchange->half_close && shutdown(fd, SHUT_WR) < 0)
			return -errno;
	}
	return 0;
}

int exchange_receive(int fd, struct exchange *exchange)
{
	static uint8_t chunk[CHUNK_BYTES];
	size_t equal = exchange->sent_bytes - exchange->received_bytes;
	ssize_t got = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);

	assert(exchange->received_bytes <= exchange->sent_bytes);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (got == 0)
		return exchange->received_bytes == exchange->size && exchange->half_close ?
			1 : -ENODATA;
	/* Only bytes that were sent may come back. */
	equal = (size_t)got < equal ? (size_t)got : equal;
	if (equal > 0)
		equal = payload_count_equal(chunk, exchange->bytes + exchange->received_bytes,
					    equal);
	exchange->received_bytes += equal;
	if (equal < (size_t)got) {
		if (exchange->received_bytes == equal)
			payload_look(chunk, (size_t)got);
		return -EBADMSG;
	}
	if (exchange->received_bytes < exchange->size)
		return 0;
	if (!exchange->half_close)
		return 1;
	exchange->phase = "eof";
	return 0;
}

int exchange_run(int fd, const uint8_t *bytes, size_t size, bool half_close, uint64_t deadline_ns,
		 struct exchange *ret_exchange)
{
	int r = 0;

	assert(size > 0);
	*ret_exchange = (struct exchange){
		.bytes = bytes, .size = size, .half_close = half_close, .phase = "send",
	};
	while (r == 0) {
		bool sends = ret_exchange->sent_bytes < size;
		int ready = exchange_wait(fd, (short)(POLLIN | (sends ? POLLOUT : 0)), deadline_ns);

		if (ready < 0)
			return ready;
		/* Input first: an error of sending must not hide it. */
		if (ready & (POLLIN | POLLHUP | POLLERR))
			r = exchange_receive(fd, ret_exchange);
		if (r == 0 && sends && ready & POLLOUT)
			r = exchange_send(fd, ret_exchange);
	}
	if (r < 0) {
		payload_note_end(r, ret_exchange->received_bytes);
		return r;
	}
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
		return report_why(-error);
	}
}
