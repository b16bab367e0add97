/* SPDX-License-Identifier: MIT */
/* The datagram process of a generation: the UDP half of RFC 862. */
#ifndef DATAGRAM_DATAGRAM_H
#define DATAGRAM_DATAGRAM_H

#include <stdint.h>
#include <stdnoreturn.h>

#include "wire/settings.h"

enum datagram_exit {
	DATAGRAM_EXIT_OVER = 0,		/* it was told to end, or (MODE_SINGLE) quiet for idle */
	DATAGRAM_EXIT_ERROR = 1,	/* no memory, or no filter */
};

/*
 * Answers datagrams on the datagram sockets of settings (descriptors LISTENER_FD_SOCKETS and up)
 * until life_fd, the read end of a pipe, hangs up: the listener has closed the other end or is
 * gone. counters: a struct datagrams. Answers all received datagrams before it exits with an enum
 * datagram_exit. seed: see struct judge. It has a type that lean_fork() can call.
 */
noreturn void datagram_serve(uint64_t life_fd, void *counters, const struct settings *settings,
			     uint64_t seed, uint8_t *unused, const _Atomic uint64_t *unused_too);

#endif
