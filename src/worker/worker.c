/* SPDX-License-Identifier: MIT */
/* A worker: closes what it does not need, echoes, and ends so that the peer loses nothing. */
#include "worker/worker.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>

#include "base/sys.h"

#define LINGER_NS CLOCK_NS_PER_S		/* how long we wait for the peer's FIN after ours */
#define LINGER_TICK_US 250000u
#define DELIVERY_FIRST_US 5000u		/* first look at what the peer has not yet taken */

#define TCP_STATE_CLOSED 7		/* TCP_CLOSE of the kernel's net/tcp_states.h */

/* Closes first to last. */
static void worker_close_range(const struct settings *settings, unsigned int first,
			       unsigned int last)
{
	if (sys_close_range(first, last) == 0)
		return;
	/* a kernel, or a filter around the daemon, that has no close_range(2) */
	for (unsigned int fd = first; fd <= last && fd < settings_descriptors(settings); fd++)
		(void)sys_close((int)fd);
}

/* Every descriptor but the connection's. */
static void worker_close_others(const struct settings *settings, int fd)
{
	if (fd > 0)
		worker_close_range(settings, 0, (unsigned int)fd - 1);
	worker_close_range(settings, (unsigned int)fd + 1, ~0u);
}

static int worker_install_filter(const struct settings *settings)
{
	return sys_install_filter(settings_worker_filter(settings), settings->worker_filter_count);
}

/*
 * SIGALRM at the session's end and each second after that, since one that comes just before a wait
 * does not interrupt it.
 */
static void worker_start_session(struct echo *echo)
{
	const struct settings *settings = echo->settings;
	struct itimerval timer = { .it_interval.tv_sec = 1 };

	timer.it_value.tv_sec = (time_t)(settings->session_us / CLOCK_US_PER_S);
	timer.it_value.tv_usec = (suseconds_t)(settings->session_us % CLOCK_US_PER_S);
	echo->session_end_ns = sys_now_ns() + settings->session_us * CLOCK_NS_PER_US;
	(void)sys_setitimer(&timer);
}

/* An option that this kind of connection does not have may fail: MPTCP carries no urgent data. */
static void worker_set_options(const struct echo *echo)
{
	(void)echo_set_ticks(echo->fd, echo->settings);
	(void)echo_keep_urgent(echo->fd);
	if (echo->is_tcp) {
		const uint32_t ms = settings_user_timeout_ms(echo->settings->stall_us);

		(void)sys_setsockopt(echo->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	}
}

/* Writes round-trip time and retransmits to the slot. Returns false if the kernel does not know. */
static bool worker_measure(const struct echo *echo, struct tcp_info *ret_info)
{
	socklen_t length = sizeof(*ret_info);

	if (!echo->is_tcp ||
	    sys_getsockopt(echo->fd, IPPROTO_TCP, TCP_INFO, ret_info, &length) < 0 ||
	    length < offsetof(struct tcp_info, tcpi_min_rtt))
		return false;
	atomic_store_explicit(&echo->slot->rtt_us, ret_info->tcpi_rtt, memory_order_relaxed);
	atomic_store_explicit(&echo->slot->retransmits, ret_info->tcpi_total_retrans,
			      memory_order_relaxed);
	return true;
}

/* TCP_INFO of an MPTCP connection is that of its first subflow, and a Unix stream has neither. */
static bool worker_has_delivered(const struct echo *echo, struct tcp_info *ret_info)
{
	int unsent = 0;

	if (echo->is_tcp)
		return !worker_measure(echo, ret_info) || ret_info->tcpi_notsent_bytes == 0;
	return sys_ioctl(echo->fd, SIOCOUTQNSD, &unsent) < 0 || unsent == 0;
}

/* Called when the connection is gone although bytes were unsent. */
static int worker_lost(const struct echo *echo)
{
	int error = 0;
	socklen_t length = sizeof(error);

	(void)sys_getsockopt(echo->fd, SOL_SOCKET, SO_ERROR, &error, &length);
	return echo_error(echo, error != 0 ? -error : -ECONNRESET);
}

/*
 * The peer has sent its FIN and everything is echoed into the socket. Waits, with all timers, until
 * the peer's window has room for the rest. If the worker left now, the rest would stay with the
 * kernel, where no limit counts it.
 */
static int worker_deliver(struct echo *echo)
{
	uint64_t wait_us = DELIVERY_FIRST_US;
	struct tcp_info info;
	int reason = ECHO_GO;

	echo->quiet_since_ns = 0;
	while (reason == ECHO_GO) {
		uint64_t tick_us;
		int before = echo->unsent;

		if (worker_has_delivered(echo, &info))
			return END_FIN;
		if (echo->is_tcp && info.tcpi_state == TCP_STATE_CLOSED)
			return worker_lost(echo);
		(void)sys_poll(NULL, 0, wait_us * CLOCK_NS_PER_US);
		reason = echo_look(echo);
		if (reason == ECHO_GO)
			reason = echo_tick(echo);
		tick_us = echo_tick_us(echo->settings);
		wait_us = echo->unsent < before ? wait_us : wait_us * 2;
		wait_us = wait_us < tick_us ? wait_us : tick_us;
	}
	return reason;
}

/*
 * We end the connection. Our FIN follows the echo, and bytes that the peer still sends are thrown
 * away until its FIN comes: after a close with unread input the kernel would send RST and the peer
 * would lose the tail (RFC 2525, 2.17).
 */
static void worker_linger(struct echo *echo)
{
	const uint64_t end_ns = sys_now_ns() + LINGER_NS;

	(void)echo_set_timeout(echo->fd, SO_RCVTIMEO, LINGER_TICK_US);
	do {
		ssize_t n = sys_recv(echo->fd, echo->small, ECHO_SMALL_BYTES, 0);

		if (n == 0 || (n < 0 && n != -EINTR && n != -EAGAIN))
			return;
	} while (sys_now_ns() < end_ns);
}

static void worker_enter(const struct echo *echo, enum slot_phase phase)
{
	atomic_store_explicit(&echo->slot->phase, phase, memory_order_relaxed);
}

static noreturn void worker_serve(struct echo *echo)
{
	struct tcp_info info;
	int reason;

	reason = echo_run(echo);
	if (reason == END_FIN)
		worker_enter(echo, SLOT_HALF_CLOSED);
	(void)sys_shutdown(echo->fd, SHUT_WR);
	if (reason == END_FIN)
		reason = worker_deliver(echo);
	else
		(void)worker_measure(echo, &info);
	worker_enter(echo, SLOT_ENDING);
	if (reason != END_FIN && reason != END_RESET && reason != END_ERROR)
		worker_linger(echo);
	atomic_store_explicit(&echo->slot->proof, echo->proof, memory_order_relaxed);
	(void)sys_close(echo->fd);
	sys_exit(reason);
}

void worker_interrupt(int number)
{
	(void)number;
}

noreturn void worker_run(uint64_t fd_and_flags, void *slot, const struct settings *settings,
			 uint64_t proof, uint8_t *small, const _Atomic uint64_t *command)
{
	const int fd = (int)(uint32_t)fd_and_flags;
	const uint32_t flags = (uint32_t)(fd_and_flags >> 32);
	struct echo echo = {
		.fd = fd,
		.proof = proof,
		.is_tcp = (flags & WORKER_NOT_TCP) == 0,
		.slot = slot,
		.command = command,
		.settings = settings,
		.small = small,
		.buffer = small,
		.size = ECHO_SMALL_BYTES,
	};

	worker_close_others(settings, fd);
	/* from here on it can make no process, although the filter allows that */
	if (sys_set_limit(RLIMIT_NPROC, 0) < 0)
		sys_exit(END_ERROR);
	if ((flags & WORKER_FILTER) && worker_install_filter(settings) < 0)
		sys_exit(END_ERROR);
	if (flags & WORKER_OPTIONS)
		worker_set_options(&echo);
	if (flags & WORKER_SESSION)
		worker_start_session(&echo);
	worker_serve(&echo);
}
