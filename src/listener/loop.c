/* SPDX-License-Identifier: MIT */
/* One turn: wait, reap, obey, accept a little from each socket. Nothing in it blocks. */
#include "listener/loop.h"

#include "base/clock.h"
#include "listener/accept.h"
#include "listener/channel.h"
#include "listener/reap.h"
#include "listener/sys.h"

#define SWEEP_NS (10ull * CLOCK_NS_PER_S)	/* for ends whose signal found no room in the queue */
#define FOREIGN_NS 100000000u			/* looks at what older generations still have */

enum poll_index { POLL_SIGNAL, POLL_CHANNEL, POLL_SOCKETS };

static uint64_t earlier(uint64_t a_ns, uint64_t b_ns)
{
	return a_ns < b_ns ? a_ns : b_ns;
}

/* How long the loop may sleep; UINT64_MAX: until something happens. */
static uint64_t loop_wait_ns(const struct listener *listener, bool is_open)
{
	uint64_t wait_ns = listener->live > 0 ? SWEEP_NS : UINT64_MAX;
	uint64_t now_ns;

	if (!is_open && !listener->is_stopping && accept_at_limit(listener) &&
	    atomic_load_explicit(&listener->table->foreign_live, memory_order_relaxed) > 0)
		wait_ns = earlier(wait_ns, FOREIGN_NS);
	if (listener->starvation.retry_ns == 0)
		return wait_ns;
	now_ns = clock_now_ns();
	if (now_ns >= listener->starvation.retry_ns)
		return 0;
	return earlier(wait_ns, listener->starvation.retry_ns - now_ns);
}

/* Returns the number of entries used; the sockets stand in it only while they may be accepted. */
static unsigned int loop_fill(const struct listener *listener, bool is_open, struct pollfd *fds)
{
	unsigned int count = POLL_SOCKETS;

	fds[POLL_SIGNAL] = (struct pollfd){ .fd = listener->signal_fd, .events = POLLIN };
	fds[POLL_CHANNEL] = (struct pollfd){ .fd = listener->channel_fd, .events = POLLIN };
	for (uint32_t i = 0; is_open && i < listener->settings->socket_count; i++)
		fds[count++] = (struct pollfd){ .fd = listener->sockets[i], .events = POLLIN };
	return count;
}

static int loop_wait(const struct listener *listener, bool is_open, struct pollfd *fds,
		     unsigned int count)
{
	uint64_t wait_ns = loop_wait_ns(listener, is_open);
	struct timespec timeout = { .tv_sec = (time_t)(wait_ns / CLOCK_NS_PER_S),
				    .tv_nsec = (long)(wait_ns % CLOCK_NS_PER_S) };

	return sys_poll(fds, count, wait_ns == UINT64_MAX ? NULL : &timeout);
}

static void loop_turn(struct listener *listener)
{
	struct pollfd fds[POLL_SOCKETS + SETTINGS_MAX_SOCKETS];
	bool is_open = accept_is_open(listener);
	unsigned int count = loop_fill(listener, is_open, fds);
	int ready = loop_wait(listener, is_open, fds, count);

	if (ready == 0) {
		listener->starvation.retry_ns = 0;
		reap_all(listener);
	}
	if (ready <= 0)
		return;
	if (fds[POLL_SIGNAL].revents != 0)
		reap_signalled(listener);
	if (fds[POLL_CHANNEL].revents != 0)
		channel_receive(listener);
	for (unsigned int i = POLL_SOCKETS; i < count; i++) {
		if (fds[i].revents != 0)
			accept_turn(listener, i - POLL_SOCKETS);
	}
}

void loop_run(struct listener *listener)
{
	while (!listener->is_stopping || listener->live > 0 || listener->pending.fd >= 0) {
		loop_turn(listener);
		accept_pending(listener);
	}
}
