/* SPDX-License-Identifier: MIT */
/* Receives, compares, writes out, watches the time. */
#include "echoctl/session/receiver.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "echoctl/output/output.h"
#include "echoctl/output/terminal.h"
#include "echoctl/output/units.h"
#include "echoctl/probe/interrupt.h"

#define BUFFER_BYTES (128u * 1024u)
#define NS_PER_MS 1000000u
#define PROGRESS_NS (250u * NS_PER_MS)
#define HELD_LOOK_NS (5u * NS_PER_MS)	/* between looks at a sender that a held reader blocks */

struct receiver {
	const struct sender *sender;
	const struct session_options *options;
	struct session_result *result;
	struct output output;
	int sender_fd;			/* -1: the sender has ended */
	bool ended;
	bool released;			/* a held reader that may read on */
	char *pending;			/* received, compared, not yet written */
	size_t pending_size;
	uint64_t fin_acknowledged_ns;
	uint64_t next_progress_ns;
};

static void end(struct receiver *receiver, enum session_end how, int error)
{
	if (receiver->ended)
		return;
	receiver->ended = true;
	receiver->result->end = how;
	receiver->result->error = error;
}

static enum sender_state sender_state(const struct receiver *receiver)
{
	return (enum sender_state)receiver->sender->counters->state;
}

/* True when the next hop has our FIN, or there is no way to tell. */
static bool fin_acknowledged(const struct receiver *receiver)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	if (getsockopt(receiver->sender->socket_fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		return true;
	return info.tcpi_state != TCP_FIN_WAIT1 && info.tcpi_state != TCP_ESTABLISHED;
}

/*
 * A held reader stays away from the connection until hold_us after the peer has our FIN. If the
 * buffers of the path are too small for that, it takes one buffer at a time, no more than lets the
 * sender get on. If more is still to come than the path can hold behind a relay, that may not have
 * met the FIN yet: it is read down to hold_bytes first. Sets *ret_again_ns to when to look again.
 */
static bool may_read(struct receiver *receiver, uint64_t now_ns, uint64_t *ret_again_ns)
{
	const struct sender_counters *counters = receiver->sender->counters;
	const struct session_result *result = receiver->result;
	uint64_t hold_ns = receiver->options->hold_us * 1000;

	if (hold_ns == 0 || receiver->released)
		return true;
	if (receiver->fin_acknowledged_ns == 0 && sender_state(receiver) == SENDER_FINISHED &&
	    fin_acknowledged(receiver)) {
		if (counters->sent > result->bytes_received + receiver->options->hold_bytes)
			return true;
		receiver->fin_acknowledged_ns = now_ns;
	}
	if (receiver->fin_acknowledged_ns != 0) {
		receiver->released = now_ns >= receiver->fin_acknowledged_ns + hold_ns;
		*ret_again_ns = receiver->fin_acknowledged_ns + hold_ns;
		return receiver->released;
	}
	*ret_again_ns = now_ns + HELD_LOOK_NS;
	return now_ns >= counters->progress_ns + HELD_LOOK_NS &&
	       now_ns >= result->last_received_ns + HELD_LOOK_NS;
}

/*
 * When the peer's time is up. It never is while the input or the output is what is waited for.
 */
static uint64_t deadline_ns(const struct receiver *receiver)
{
	uint64_t last_ns = receiver->sender->counters->progress_ns;

	if (receiver->pending_size > 0 || sender_state(receiver) == SENDER_WAITING)
		return UINT64_MAX;
	if (receiver->result->last_received_ns > last_ns)
		last_ns = receiver->result->last_received_ns;
	if (receiver->fin_acknowledged_ns != 0)
		last_ns += receiver->options->hold_us * 1000;
	return last_ns + receiver->options->drain_timeout_us * 1000;
}

static void show_progress(struct receiver *receiver, uint64_t now_ns)
{
	uint64_t received = receiver->result->bytes_received;
	uint64_t sent = receiver->sender->counters->sent;
	uint64_t total = receiver->options->total_bytes;
	double rate = (double)received * CLOCK_NS_PER_S /
		      (double)(now_ns - receiver->result->started_ns + 1);
	char left[48] = "";
	char texts[3][UNITS_TEXT_MAX];

	if (!receiver->options->progress || now_ns < receiver->next_progress_ns)
		return;
	receiver->next_progress_ns = now_ns + PROGRESS_NS;
	if (total > received && rate > 0)
		snprintf(left, sizeof(left), ", %.0f%%, %.0f s left",
			 100.0 * (double)received / (double)total,
			 (double)(total - received) / rate);
	terminal_show("%s back, %s/s, %s in flight%s", units_bytes((double)received, texts[0]),
		      units_bytes(rate, texts[1]),
		      units_bytes(sent > received ? (double)(sent - received) : 0, texts[2]), left);
}

static void compare(struct receiver *receiver, const char *bytes, size_t size)
{
	struct session_result *result = receiver->result;

	if (receiver->sender->inflight == NULL)
		return;
	switch (inflight_check(receiver->sender->inflight, bytes, size, &result->difference)) {
	case INFLIGHT_EQUAL:
		break;
	case INFLIGHT_DIFFERS:
		end(receiver, SESSION_CORRUPT, 0);
		break;
	case INFLIGHT_EXCESS:
		end(receiver, SESSION_EXCESS, 0);
		break;
	case INFLIGHT_FAILED:
		end(receiver, SESSION_BROKEN, errno);
		break;
	}
}

static void write_pending(struct receiver *receiver)
{
	ssize_t n = output_write(&receiver->output, receiver->pending, receiver->pending_size);

	if (n < 0) {
		receiver->pending_size = 0;
		receiver->ended = false;
		end(receiver, SESSION_OUTPUT_FAILED, (int)-n);
		return;
	}
	receiver->pending += n;
	receiver->pending_size -= (size_t)n;
}

static void receive(struct receiver *receiver, char *buffer)
{
	struct session_result *result = receiver->result;
	ssize_t n = recv(receiver->sender->socket_fd, buffer, BUFFER_BYTES, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		end(receiver, SESSION_RESET, errno);
		return;
	}
	if (n == 0) {
		result->eof = true;
		result->eof_ns = clock_now_ns();
		end(receiver, SESSION_OK, 0);
		return;
	}
	result->last_received_ns = clock_now_ns();
	if (result->first_received_ns == 0)
		result->first_received_ns = result->last_received_ns;
	if (receiver->sender->counters->fin_ns == 0)
		result->bytes_before_fin += (uint64_t)n;
	result->bytes_received += (uint64_t)n;
	compare(receiver, buffer, (size_t)n);
	receiver->pending = buffer;
	receiver->pending_size = (size_t)n;
	write_pending(receiver);
}

static void heed_user(struct receiver *receiver)
{
	if (interrupt_ended() < 0) {
		receiver->pending_size = 0;
		end(receiver, session_end_of(interrupt_ended()), 0);
	}
	if (interrupt_asked())
		receiver->next_progress_ns = 0;
}

/* The sender's process is gone. A connection that it found broken is left to recv(2) to judge. */
static void note_sender_end(struct receiver *receiver)
{
	receiver->sender_fd = -1;
	receiver->released |= sender_state(receiver) != SENDER_FINISHED;
	switch (sender_state(receiver)) {
	case SENDER_INPUT_FAILED:
		end(receiver, SESSION_INPUT_FAILED, receiver->sender->counters->error);
		break;
	case SENDER_BROKEN:
		end(receiver, SESSION_BROKEN, receiver->sender->counters->error);
		break;
	case SENDER_WAITING:
	case SENDER_SENDING:
		end(receiver, SESSION_BROKEN, ECHILD);
		break;
	case SENDER_FINISHED:
	case SENDER_FAILED:
		break;
	}
}

static int until_ms(uint64_t now_ns, uint64_t until_ns)
{
	uint64_t ms = until_ns <= now_ns ? 0 : (until_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;

	return ms < INT_MAX ? (int)ms : INT_MAX;
}

/* When to look again although nothing has happened. */
static int wait_ms(const struct receiver *receiver, uint64_t now_ns, uint64_t again_ns)
{
	/* A sender that starts to send meanwhile gets its full time from then on. */
	uint64_t until_ns = now_ns + receiver->options->drain_timeout_us * 1000;
	uint64_t deadline = deadline_ns(receiver);

	if (deadline < until_ns)
		until_ns = deadline;
	if (again_ns != 0 && again_ns < until_ns)
		until_ns = again_ns;
	if (receiver->options->progress && receiver->next_progress_ns < until_ns)
		until_ns = receiver->next_progress_ns;
	return until_ms(now_ns, until_ns);
}

enum { SOCKET, OUTPUT, SIGNAL, SENDER, N_POLLED };

static void step(struct receiver *receiver, char *buffer)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t again_ns = 0;
	bool writing = receiver->pending_size > 0;
	bool reading = !writing && may_read(receiver, now_ns, &again_ns);
	struct pollfd polled[N_POLLED] = {
		[SOCKET] = {.fd = receiver->sender->socket_fd, .events = reading ? POLLIN : 0},
		[OUTPUT] = {.fd = writing ? receiver->output.fd : -1, .events = POLLOUT},
		[SIGNAL] = {.fd = interrupt_fd(), .events = POLLIN},
		[SENDER] = {.fd = receiver->sender_fd, .events = POLLIN},
	};

	/* While output is waited for, an error of the connection has to wait too. */
	if (writing)
		polled[SOCKET].fd = -1;
	if (poll(polled, N_POLLED, wait_ms(receiver, now_ns, again_ns)) < 0) {
		if (errno != EINTR)
			end(receiver, SESSION_BROKEN, errno);
		return;
	}
	heed_user(receiver);
	if (polled[SENDER].revents != 0)
		note_sender_end(receiver);
	if (polled[OUTPUT].revents != 0)
		write_pending(receiver);
	if (polled[SOCKET].revents != 0) {
		receiver->released |= !reading;
		receive(receiver, buffer);
	}
	now_ns = clock_now_ns();
	if (polled[SOCKET].revents == 0 && now_ns >= deadline_ns(receiver))
		end(receiver, SESSION_STALL, ETIMEDOUT);
	show_progress(receiver, now_ns);
}

void receiver_run(const struct sender *sender, int sender_fd, struct session_result *result)
{
	static char buffer[BUFFER_BYTES];
	struct receiver receiver = {
		.sender = sender,
		.options = sender->options,
		.result = result,
		.sender_fd = sender_fd,
		.next_progress_ns = result->started_ns + CLOCK_NS_PER_S,
	};
	int r = output_open(sender->options->output_fd, &receiver.output);

	if (r < 0)
		end(&receiver, SESSION_OUTPUT_FAILED, -r);
	/* What has been received is written before the end, whatever the end is. */
	while (!receiver.ended || receiver.pending_size > 0)
		step(&receiver, buffer);
	r = output_close(&receiver.output);
	if (r < 0 && result->end != SESSION_OUTPUT_FAILED) {
		result->end = SESSION_OUTPUT_FAILED;
		result->error = -r;
	}
}
