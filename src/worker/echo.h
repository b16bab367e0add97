/* SPDX-License-Identifier: MIT */
/* The echo itself: every byte back, in order, with the timers of one connection. */
#ifndef WORKER_ECHO_H
#define WORKER_ECHO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/scoreboard.h"
#include "wire/settings.h"

#define ECHO_GO (-1)			/* no reason to end yet */
#define ECHO_SMALL_BYTES 65536u		/* read at once; only what is used is ever touched */
#define ECHO_BIG_BYTES 1048576u

/* One connection. All of it lies on the worker's stack. */
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
 * How long a read or a write may wait before the timers are looked at: short against both,
 * because only a look at the unsent bytes tells a slow peer from one that has stalled.
 */
uint64_t echo_tick_us(const struct settings *settings);

/* SO_RCVTIMEO or SO_SNDTIMEO (name); 0 = for ever. Returns 0 or -errno. */
int echo_set_timeout(int fd, int name, uint64_t us);

/* Both of them to a tick. */
int echo_set_ticks(int fd, const struct settings *settings);

/* Urgent data (RFC 6093) stays in its place among the others. Returns 0 or -errno. */
int echo_keep_urgent(int fd);

/* Echoes until the peer's FIN (END_FIN), a timer, a command or an error: enum end_reason. */
int echo_run(struct echo *echo);

/*
 * To be called when a wait was interrupted or a tick is over: the supervisor's command and the
 * session's end. Returns ECHO_GO or the reason to end.
 */
int echo_look(const struct echo *echo);

/* A tick went by without a byte. Returns ECHO_GO, END_IDLE or END_STALL. */
int echo_tick(struct echo *echo);

/* What errno (negative) of a socket means: END_RESET or END_ERROR; the slot's detail is set. */
int echo_error(const struct echo *echo, int error);

#endif
