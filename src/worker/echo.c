/* SPDX-License-Identifier: MIT */
/*
 * The copy loop. A small message costs one read and one write. The timers cost nothing as long as
 * bytes flow: reads and writes give up after a tick (SO_RCVTIMEO, SO_SNDTIMEO), and only then does
 * the worker look at the clock and the unsent bytes.
 */
#include "worker/worker.h"

#include <linux/sockios.h>

#include "base/sys.h"

#define TICK_MAX_US 5000000u	/* how soon an idle worker gives its memory back */
#define TICK_MIN_US 1000u
#define TICKS 4u		/* in one timeout */
#define FULL_READS 2u		/* since it was last quiet, and the connection is a bulk one */
#define TURNS 16u		/* between looks at command and clock while it never waits */
#define PAGE_BYTES 4096u
#define BIG_BYTES 1048576u

uint64_t echo_tick_us(const struct settings *settings)
{
	uint64_t tick_us = TICK_MAX_US;

	if (settings->idle_us > 0 && settings->idle_us / TICKS < tick_us)
		tick_us = settings->idle_us / TICKS;
	if (settings->stall_us > 0 && settings->stall_us / TICKS < tick_us)
		tick_us = settings->stall_us / TICKS;
	return tick_us > TICK_MIN_US ? tick_us : TICK_MIN_US;
}

int echo_set_timeout(int fd, int name, uint64_t us)
{
	struct timeval timeout = { .tv_sec = (time_t)(us / CLOCK_US_PER_S),
				   .tv_usec = (suseconds_t)(us % CLOCK_US_PER_S) };

	return sys_setsockopt(fd, SOL_SOCKET, name, &timeout, sizeof(timeout));
}

int echo_set_ticks(int fd, const struct settings *settings)
{
	uint64_t tick_us = echo_tick_us(settings);
	int r = echo_set_timeout(fd, SO_RCVTIMEO, tick_us);

	return r < 0 ? r : echo_set_timeout(fd, SO_SNDTIMEO, tick_us);
}

int echo_keep_urgent(int fd)
{
	const int on = 1;

	return sys_setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
}

int echo_look(const struct echo *echo)
{
	uint64_t word = atomic_load_explicit(echo->command, memory_order_relaxed);

	if (word != 0 && (!command_pid(word) || command_pid(word) == sys_getpid()))
		return command_of(word) == SLOT_END_KILLED ? END_KILLED : END_DRAIN;
	if (echo->session_end_ns != 0 && sys_now_ns() >= echo->session_end_ns)
		return END_SESSION;
	return ECHO_GO;
}

int echo_error(const struct echo *echo, int error)
{
	atomic_store_explicit(&echo->slot->detail, (uint32_t)-error, memory_order_relaxed);
	if (error == -ECONNRESET || error == -EPIPE || error == -ETIMEDOUT ||
	    error == -EHOSTUNREACH || error == -ENETUNREACH || error == -ENETDOWN ||
	    error == -EHOSTDOWN || error == -ECONNABORTED)
		return END_RESET;
	return END_ERROR;
}

/* Goes back to the small buffer, and keeps of it only what small messages need. */
static void echo_shrink(struct echo *echo)
{
	if (echo->buffer != echo->small)
		(void)sys_munmap(echo->buffer, BIG_BYTES);
	echo->buffer = echo->small;
	echo->size = ECHO_SMALL_BYTES;
	echo->full_reads = 0;
	if (echo->bytes_in > PAGE_BYTES) {
		uintptr_t begin = ((uintptr_t)echo->small + PAGE_BYTES) & ~(PAGE_BYTES - 1ul);
		uintptr_t end = ((uintptr_t)echo->small + ECHO_SMALL_BYTES) & ~(PAGE_BYTES - 1ul);

		(void)sys_madvise((void *)begin, end - begin, MADV_DONTNEED);
	}
}

/*
 * The peer fills whole buffers. A larger one saves system calls and, more importantly, switches
 * between us and the peer. Without the memory for it the worker goes on with the small one.
 * (splice(2) would take a third less CPU and be slower: it moves little at a time and wakes the
 * peer for each piece.)
 */
static void echo_grow(struct echo *echo)
{
	uint8_t *big;

	if (echo->size == BIG_BYTES || ++echo->full_reads < FULL_READS)
		return;
	big = sys_memory(BIG_BYTES);
	if (!big)
		return;
	echo->buffer = big;
	echo->size = BIG_BYTES;
}

int echo_tick(struct echo *echo)
{
	const struct settings *settings = echo->settings;
	uint64_t now_ns = sys_now_ns();
	uint64_t quiet_us;
	int unsent = 0;

	(void)sys_ioctl(echo->fd, SIOCOUTQ, &unsent);
	if (echo->quiet_since_ns == 0)
		echo->quiet_since_ns =
			now_ns - (unsent > 0 ? 0 : echo_tick_us(settings) * CLOCK_NS_PER_US);
	else if (unsent < echo->unsent)
		echo->quiet_since_ns = now_ns;
	echo->unsent = unsent;
	quiet_us = (now_ns - echo->quiet_since_ns) / CLOCK_NS_PER_US;
	if (settings->stall_us > 0 && unsent > 0 && quiet_us >= settings->stall_us)
		return END_STALL;
	if (settings->idle_us > 0 && quiet_us >= settings->idle_us)
		return END_IDLE;
	return ECHO_GO;
}

/*
 * No byte is on its way in either direction, so nothing can stall until the peer sends. Waits for
 * that once, long and with little memory.
 */
static void echo_sleep(struct echo *echo)
{
	uint64_t rest_us = 0;

	if (!echo->is_dormant)
		echo_shrink(echo);
	if (echo->settings->idle_us > 0) {
		uint64_t quiet_us = (sys_now_ns() - echo->quiet_since_ns) / CLOCK_NS_PER_US;

		rest_us = echo->settings->idle_us - quiet_us;
		if (quiet_us >= echo->settings->idle_us || rest_us < TICK_MIN_US)
			rest_us = TICK_MIN_US;
	}
	echo->is_dormant = echo_set_timeout(echo->fd, SO_RCVTIMEO, rest_us) == 0;
}

/* Called when a byte has moved. */
static inline void echo_wake(struct echo *echo)
{
	if (echo->quiet_since_ns == 0)
		return;
	echo->quiet_since_ns = 0;
	if (!echo->is_dormant)
		return;
	echo->is_dormant = false;
	(void)echo_set_timeout(echo->fd, SO_RCVTIMEO, echo_tick_us(echo->settings));
}

/* Called when a read or a write returned -errno. */
static int echo_wait(struct echo *echo, int error, bool is_reading)
{
	int reason = echo_look(echo);

	if (reason != ECHO_GO || error == -EINTR)
		return reason;
	if (error != -EAGAIN)
		return echo_error(echo, error);
	reason = echo_tick(echo);
	if (reason == ECHO_GO && is_reading && echo->unsent == 0)
		echo_sleep(echo);
	return reason;
}

/*
 * Looks at command and clock now and then. A short write has waited for a tick in vain, or a signal
 * interrupted it. A quiet connection never reads its command word (that saves a page fault): a
 * signal interrupts its wait.
 */
static inline int echo_turn(struct echo *echo, bool is_short)
{
	if (is_short)
		return echo_wait(echo, -EAGAIN, false);
	return ++echo->turns % TURNS == 0 ? echo_look(echo) : ECHO_GO;
}

/* Sends back the size bytes that were taken, however slowly the peer reads them. */
static int echo_send(struct echo *echo, size_t size)
{
	size_t offset = 0;
	int reason = ECHO_GO;

	while (offset < size && reason == ECHO_GO) {
		ssize_t n = sys_send(echo->fd, echo->buffer + offset, size - offset, MSG_NOSIGNAL);

		if (n < 0) {
			reason = echo_wait(echo, (int)n, false);
			continue;
		}
		echo_wake(echo);
		offset += (size_t)n;
		echo->bytes_out += (uint64_t)n;
		atomic_store_explicit(&echo->slot->bytes_out, echo->bytes_out,
				      memory_order_relaxed);
		reason = echo_turn(echo, offset < size);
	}
	return reason;
}

int echo_run(struct echo *echo)
{
	int reason = ECHO_GO;

	while (reason == ECHO_GO) {
		ssize_t n = sys_recv(echo->fd, echo->buffer, echo->size, 0);

		if (n == 0)
			return END_FIN;
		if (n < 0) {
			reason = echo_wait(echo, (int)n, true);
			continue;
		}
		echo->proof = 0;
		echo_wake(echo);
		echo->bytes_in += (uint64_t)n;
		atomic_store_explicit(&echo->slot->bytes_in, echo->bytes_in, memory_order_relaxed);
		reason = echo_send(echo, (size_t)n);
		if ((size_t)n == echo->size)
			echo_grow(echo);
	}
	return reason;
}
