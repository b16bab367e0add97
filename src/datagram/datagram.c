/* SPDX-License-Identifier: MIT */
/*
 * The datagram process. The listener forks it once for a generation, and again if it dies. It does
 * not count as a connection. It holds the datagram sockets, the read end of a pipe that tells it
 * when to end, its counters and nothing else. It allocates once and then enters a filter of its
 * own: it can receive, send, wait, look at the clock and exit.
 *
 *     wait (ppoll) -> for each socket that is ready: up to four batches (turn.c) -> wait ...
 *
 * During a reload the processes of two generations read the same sockets; the kernel gives each
 * datagram to exactly one of them, and the old one answers what it has taken before it ends. So a
 * reload loses and doubles nothing. The listener reads no datagrams: a flood takes processor time
 * of this process only.
 */
#include "datagram/datagram.h"

#include <stdlib.h>

#include "base/sys.h"

#define TURNS_A_SOCKET 4	/* before the next socket gets its turn */
#define QUIET_US 5000000u	/* after this time memory that datagrams have used is given back */

struct datagram {
	const struct settings *settings;
	bool is_touched;	/* slots have been used since they were given back */
	struct pollfd sockets[SETTINGS_MAX_SOCKETS + 1];	/* the last one used is the pipe */
	struct turn turn;
};

/* Keeps only the pipe and the datagram sockets open, and waits for them. */
static void choose_descriptors(struct datagram *datagram, int life_fd)
{
	const struct settings *settings = datagram->settings;

	for (int fd = 0; fd < (int)settings_descriptors(settings); fd++) {
		uint32_t index = (uint32_t)(fd - LISTENER_FD_SOCKETS);
		bool is_socket = index < settings->socket_count &&
				 settings_is_datagram(settings, index);

		if (index < settings->socket_count)
			datagram->sockets[index] = (struct pollfd){ .fd = is_socket ? fd : -1,
								    .events = POLLIN };
		if (!is_socket && fd != life_fd)
			(void)sys_close(fd);
	}
	datagram->sockets[settings->socket_count] = (struct pollfd){ life_fd, POLLIN, 0 };
}

static int install_filter(const struct settings *settings)
{
	return sys_install_filter(settings_datagram_filter(settings),
				  settings->datagram_filter_count);
}

static int datagram_wait(struct datagram *datagram)
{
	const struct settings *settings = datagram->settings;
	uint64_t us = datagram->is_touched ? QUIET_US : 0;	/* 0: for ever */

	if (settings->mode == MODE_SINGLE)
		us = settings->idle_us;
	return sys_poll(datagram->sockets, settings->socket_count + 1,
			us > 0 ? us * CLOCK_NS_PER_US : UINT64_MAX);
}

/* Returns false at the end, when all received datagrams are answered. */
static bool turn_all(struct datagram *datagram)
{
	const struct settings *settings = datagram->settings;
	struct pollfd *sockets = datagram->sockets;
	int ready = datagram_wait(datagram);
	bool is_over = ready > 0 && sockets[settings->socket_count].revents != 0;

	if (ready == 0) {
		(void)sys_madvise(datagram->turn.slots, sizeof(datagram->turn.slots),
				  MADV_DONTNEED);
		datagram->is_touched = false;
		return settings->mode != MODE_SINGLE;
	}
	for (uint32_t i = 0; ready > 0 && i < settings->socket_count; i++) {
		int turns = sockets[i].revents != 0 ? TURNS_A_SOCKET : 0;

		while (turns > 0 && turn_run(&datagram->turn, sockets[i].fd, i))
			turns--;
	}
	datagram->is_touched = true;
	return !is_over;
}

noreturn void datagram_serve(uint64_t fd_and_flags, void *counters, const struct settings *settings,
			     uint64_t seed, uint8_t *unused, const _Atomic uint64_t *unused_too)
{
	struct datagram *datagram = sys_memory(sizeof(*datagram));

	(void)unused;
	(void)unused_too;
	(void)atomic_fetch_add(&((struct datagrams *)counters)->starts, 1);
	datagrams_settle(counters);
	if (!datagram)
		sys_exit(EXIT_FAILURE);
	datagram->settings = settings;
	turn_init(&datagram->turn, settings, counters, seed);
	choose_descriptors(datagram, (int)(uint32_t)fd_and_flags);
	/* no filter is needed for these: it makes no process, and it ends with its listener */
	if (sys_set_limit(RLIMIT_NPROC, 0) < 0 || sys_end_with_parent() < 0)
		sys_exit(EXIT_FAILURE);
	if (fd_and_flags >> 32 != 0 && install_filter(settings) < 0)
		sys_exit(EXIT_FAILURE);
	while (turn_all(datagram))
		;
	sys_exit(EXIT_SUCCESS);
}
