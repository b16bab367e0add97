/* SPDX-License-Identifier: MIT */
/* A worker's life from the fork to its exit. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <stdint.h>
#include <stdnoreturn.h>

#include "wire/scoreboard.h"
#include "wire/settings.h"

enum worker_flag {
	WORKER_NOT_TCP = 1u << 0,	/* a Unix stream, or MPTCP */
	WORKER_OPTIONS = 1u << 1,	/* has to set the options, it inherited none */
	WORKER_FILTER = 1u << 2,	/* has to install the narrower filter */
	WORKER_SESSION = 1u << 3,	/* the session has an end */
};

/*
 * The flags that are the same for all workers. They travel with the others so that a worker
 * that ends soon never reads the settings, which would cost it a page fault.
 */
static inline uint32_t worker_common_flags(const struct settings *settings)
{
	return ((settings->flags & SETTINGS_WORKER_FILTER) ? WORKER_FILTER : 0) |
	       (settings->session_us > 0 ? WORKER_SESSION : 0);
}

/*
 * What a worker is given; with its buffer these are six values (two in one), few enough to travel
 * in registers.
 */
struct worker_call {
	int fd;			/* its connection */
	uint32_t flags;		/* enum worker_flag */
	struct slot *slot;
	const struct settings *settings;
	const _Atomic uint64_t *command;	/* its word of the commands */
	/*
	 * A random number that the worker forgets with the first byte that it gets, and leaves in
	 * its slot at the end. So a worker that a peer has taken over cannot pass for one that got
	 * nothing, whatever it writes. 0: none.
	 */
	uint64_t proof;
};

/* fd and flags as one value. */
static inline uint64_t worker_pack(int fd, uint32_t flags)
{
	return (uint64_t)flags << 32 | (uint32_t)fd;
}

/*
 * The handler of SIGURG and SIGALRM, which workers inherit. It does nothing: that a blocked read
 * or write ends with EINTR is all that is asked of it. It is here because it runs in a lean worker.
 */
void worker_interrupt(int number);

/*
 * Serves the connection and exits with an enum end_reason. A lean worker runs on a small
 * stack without the data of the program: nothing called from here may use a global variable,
 * libc, or thread-local storage (tests/run/test_lean.py looks).
 */
noreturn void worker_run(uint64_t fd_and_flags, struct slot *slot, const struct settings *settings,
			 uint64_t proof, uint8_t *small, const _Atomic uint64_t *command);

#endif
