/* SPDX-License-Identifier: MIT */
/*
 * The listener's loop. One turn: wait, reap, obey, accept a little from each socket.
 *
 * The wait (ppoll) is the only call that may block, and its set is chosen anew each turn. The
 * listening sockets are in it only while a connection could be served: not at the limit (unless
 * at-limit is "refuse"), not while a resource is short, not while an accepted connection still
 * waits for its worker. Other connections wait in the kernel's backlog, at no cost to us.
 *
 * The order within a turn matters. Ends of workers come first: they make room, and connections
 * accepted later in the turn are judged by correct counts. Then come the supervisor's messages, so
 * that a stop is obeyed before more is accepted. Each socket then gives a few connections only, so
 * that a flood on one neither starves the others nor puts off the reaping.
 *
 * If a resource is short (descriptors, memory, processes) the loop does not spin: it accepts
 * nothing until a worker has ended, or for 100 ms. Those that wait for their PROXY header rest as
 * well; none is late before it was looked at. Every ten seconds, while children live, the loop also
 * looks for an end whose signal had no room in the queue of signals, and whether the datagram
 * process hangs.
 *
 * The loop ends when the listener was told to stop, or the supervisor is gone, and the last worker
 * is reaped. A datagram process that does not end then is killed by the end of the listener: for
 * this it leaves even workers behind, as if it had died.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "base/sys.h"
#include "listener/listener.h"

#define SWEEP_NS (10ull * CLOCK_NS_PER_S) /* for ends whose signal had no room in the queue */
#define FOREIGN_NS 100000000u			/* looks at what older generations still have */
#define PAUSE_NS 100000000u
#define MESSAGE_BATCH 16	/* messages a turn */

enum poll_index { POLL_SIGNAL, POLL_CHANNEL, POLL_WAITING };

static uint64_t earlier(uint64_t a_ns, uint64_t b_ns)
{
	return a_ns < b_ns ? a_ns : b_ns;
}

/* When the loop has to turn even if nothing happens; UINT64_MAX: never. */
static uint64_t loop_deadline_ns(const struct listener *listener, bool is_open, uint64_t now_ns)
{
	uint64_t deadline_ns = datagrams_due_ns(listener);

	if (listener_live(listener) > 0 || datagrams_live(listener) || listener->is_stopping)
		deadline_ns = earlier(deadline_ns, listener->sweep_ns);
	if (listener_can_start(listener))
		deadline_ns = earlier(deadline_ns, waiting_deadline_ns(listener));
	if (listener->starvation.retry_ns != 0)
		deadline_ns = earlier(deadline_ns, listener->starvation.retry_ns);
	if (!is_open && accept_at_limit(listener) &&
	    atomic_load_explicit(&listener->table->foreign_live, memory_order_relaxed) > 0)
		deadline_ns = earlier(deadline_ns, now_ns + FOREIGN_NS);
	return deadline_ns;
}

/*
 * Returns the number of entries used. Behind those that wait for their PROXY header stand the
 * listening sockets, but only if is_open.
 */
static unsigned int loop_fill(const struct listener *listener, uint32_t waiting, bool is_open,
			      struct pollfd *fds)
{
	unsigned int count = POLL_WAITING;

	fds[POLL_SIGNAL] = (struct pollfd){ .fd = listener->signal_fd, .events = POLLIN };
	fds[POLL_CHANNEL] = (struct pollfd){ .fd = listener->channel_fd, .events = POLLIN };
	for (uint32_t i = 0; i < waiting; i++)
		fds[count++] = (struct pollfd){ .fd = listener->waiting[i]->connection.fd,
						.events = POLLIN };
	for (uint32_t i = 0; is_open && i < listener->settings->socket_count; i++)
		fds[count++] = (struct pollfd){ .fd = listener->sockets[i], .events = POLLIN };
	return count;
}

static int loop_wait(const struct listener *listener, bool is_open, struct pollfd *fds,
		     unsigned int count)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t deadline_ns = loop_deadline_ns(listener, is_open, now_ns);

	if (deadline_ns == UINT64_MAX)
		return sys_poll(fds, count, UINT64_MAX);
	return sys_poll(fds, count, deadline_ns > now_ns ? deadline_ns - now_ns : 0);
}

static void loop_stop(struct listener *listener)
{
	datagrams_stop(listener);
	if (listener->is_stopping)
		return;
	listener->is_stopping = true;
	for (uint32_t i = 0; i < listener->settings->socket_count; i++)
		listener->sockets[i] = fd_close(listener->sockets[i]);
	(void)channel_send(listener, MESSAGE_STOPPED, 0);
}

/* Does what is due by the clock. If the datagram process hangs, another listener replaces us. */
static void loop_look_at_clock(struct listener *listener)
{
	uint64_t now_ns = clock_now_ns();

	if (now_ns >= listener->starvation.retry_ns)
		listener->starvation.retry_ns = 0;
	if (now_ns >= listener->sweep_ns) {
		workers_reap_all(listener);
		listener->sweep_ns = now_ns + SWEEP_NS;
		if (datagrams_hang(listener)) {
			loop_stop(listener);
			listener->datagrams.due_ns = now_ns;
		}
	}
	datagrams_tend(listener, now_ns);
}

/* Obeys the supervisor; if that is gone the listener stops. Ignores unknown messages. */
static void loop_obey(struct listener *listener)
{
	for (int i = 0; i < MESSAGE_BATCH; i++) {
		struct message message;
		ssize_t n = sys_recv(listener->channel_fd, &message, sizeof(message), MSG_DONTWAIT);

		if (n == -EAGAIN || n == -EINTR)
			return;
		if (n <= 0) {
			listener->channel_fd = fd_close(listener->channel_fd);
			loop_stop(listener);
			return;
		}
		if ((size_t)n < sizeof(message))
			continue;
		if (message.type == MESSAGE_PING)
			(void)channel_send(listener, MESSAGE_PONG, message.value);
		if (message.type == MESSAGE_STOP)
			loop_stop(listener);
		if (message.type == MESSAGE_STOP && message.value == STOP_END)
			accept_give_up(listener);
	}
}

/*
 * If the wait fails (ENOMEM, or EINVAL: RLIMIT_NOFILE is below the number of entries, poll(2))
 * pauses instead, then looks at everything that must not be missed.
 */
static void loop_pause(struct listener *listener, int error)
{
	events_starve(listener, error == -EINVAL ? -EMFILE : error, clock_now_ns());
	(void)sys_poll(NULL, 0, PAUSE_NS);
	workers_reap(listener);
	loop_obey(listener);
}

static void loop_turn(struct listener *listener)
{
	struct pollfd fds[POLL_WAITING + SETTINGS_MAX_WAITING + SETTINGS_MAX_SOCKETS];
	bool is_open = accept_is_open(listener);
	uint32_t waiting = listener_can_start(listener) ? listener->waiting_count : 0;
	unsigned int count = loop_fill(listener, waiting, is_open, fds);
	int ready = loop_wait(listener, is_open, fds, count);

	loop_look_at_clock(listener);
	accept_announced(listener, &fds[POLL_WAITING], waiting);
	if (ready < 0 && ready != -EINTR)
		loop_pause(listener, ready);
	if (ready <= 0)
		return;
	if (fds[POLL_SIGNAL].revents != 0)
		workers_reap(listener);
	if (fds[POLL_CHANNEL].revents != 0)
		loop_obey(listener);
	for (unsigned int i = POLL_WAITING + waiting; i < count; i++) {
		if (fds[i].revents != 0)
			accept_turn(listener, i - POLL_WAITING - waiting);
	}
}

static bool loop_is_over(const struct listener *listener)
{
	if (!listener->is_stopping || listener->pending.fd >= 0 || listener->waiting_count > 0)
		return false;
	return datagrams_live(listener) ? listener->datagrams.is_given_up :
					  listener_live(listener) == 0;
}

void loop_run(struct listener *listener)
{
	while (!loop_is_over(listener)) {
		accept_note_limit(listener);
		loop_turn(listener);
		accept_pending(listener);
	}
}
