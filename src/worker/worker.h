/* SPDX-License-Identifier: MIT */
/* A worker's life from the fork to its exit, and the echo itself with its timers. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "wire/scoreboard.h"
#include "wire/settings.h"

#define ECHO_GO (-1)			/* no reason to end yet */
#define ECHO_SMALL_BYTES 65536u		/* read at once; only what is used is ever touched */

enum worker_flag {
	WORKER_NOT_TCP = 1u << 0,	/* a Unix stream, or MPTCP */
	WORKER_OPTIONS = 1u << 1,	/* has to set the options: it inherited none */
	WORKER_FILTER = 1u << 2,	/* has to install the narrower filter */
	WORKER_SESSION = 1u << 3,	/* the session has an end */
};

/* What a forked process runs, with the values of struct worker_call. It does not return. */
typedef void (*worker_entry)(uint64_t fd_and_flags, void *slot, const struct settings *settings,
			     uint64_t proof, uint8_t *small, const _Atomic uint64_t *command);

/*
 * What a worker is given. With its buffer these are six values (two in one), so that they fit in
 * registers.
 */
struct worker_call {
	worker_entry entry;	/* worker_run() */
	int fd;			/* its connection */
	uint32_t flags;		/* enum worker_flag */
	void *slot;		/* its struct slot */
	const struct settings *settings;
	const _Atomic uint64_t *command;	/* its word of the commands */
	/*
	 * A random number. The worker forgets it with the first byte that it gets; otherwise it
	 * leaves it in its slot at the end. So a worker that a peer has taken over cannot pretend
	 * that it got no byte. 0: none.
	 */
	uint64_t proof;
};

/* fd and flags as one value. */
static inline uint64_t worker_pack(int fd, uint32_t flags)
{
	return (uint64_t)flags << 32 | (uint32_t)fd;
}

/*
 * The handler of SIGURG and SIGALRM, which workers inherit. It does nothing: a blocked read or
 * write ends with EINTR, and that is enough. It is here because it runs in a lean worker.
 */
void worker_interrupt(int number);

/*
 * Serves the connection and exits with an enum end_reason. A lean worker runs on a small
 * stack without the data of the program: nothing called from here may use a global variable,
 * libc, or thread-local storage (tests/run/test_lean.py looks).
 */
noreturn void worker_run(uint64_t fd_and_flags, void *slot, const struct settings *settings,
			 uint64_t proof, uint8_t *small, const _Atomic uint64_t *command);

/* One connection, on the worker's stack. */
struct echo {
	int fd;				/* blocking; SO_RCVTIMEO and SO_SNDTIMEO are one tick */
	bool is_tcp;			/* else a Unix stream, or MPTCP */
	uint64_t proof;			/* of struct worker_call; 0 once a byte came */
	struct slot *slot;
	const _Atomic uint64_t *command;	/* from the supervisor; its page is touched late */
	const struct settings *settings;
	uint8_t *small;			/* ECHO_SMALL_BYTES */
	uint8_t *buffer;		/* small, or mapped */
	size_t size;			/* of one read */
	unsigned int full_reads;	/* since it was last quiet */
	unsigned int turns;
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t session_end_ns;	/* 0: none */
	uint64_t quiet_since_ns;	/* no byte in either direction since; 0: not yet a tick */
	int unsent;			/* at the last tick */
	bool is_dormant;		/* SO_RCVTIMEO is the rest of the idle time */
};

/*
 * How long a read or a write may wait before the timers are looked at: much shorter than idle and
 * stall, because only a look at the unsent bytes distinguishes a slow peer from one that has
 * stalled.
 */
uint64_t echo_tick_us(const struct settings *settings);

/* SO_RCVTIMEO or SO_SNDTIMEO (name); 0 = for ever. Returns 0 or -errno. */
int echo_set_timeout(int fd, int name, uint64_t us);

/* Both of them to a tick. */
int echo_set_ticks(int fd, const struct settings *settings);

/* Keeps urgent data (RFC 6093) in its place in the stream. Returns 0 or -errno. */
int echo_keep_urgent(int fd);

/* Echoes until the peer's FIN (END_FIN), a timer, a command or an error: enum end_reason. */
int echo_run(struct echo *echo);

/*
 * Looks at the supervisor's command and the session's end; to be called when a wait was interrupted
 * or a tick is over. Returns ECHO_GO or the reason to end.
 */
int echo_look(const struct echo *echo);

/* To be called when a tick went by without a byte. Returns ECHO_GO, END_IDLE or END_STALL. */
int echo_tick(struct echo *echo);

/* What errno (negative) of a socket means: END_RESET or END_ERROR; the slot's detail is set. */
int echo_error(const struct echo *echo, int error);

#endif
