/* SPDX-License-Identifier: MIT */
/* The sending half of a session, in a process of its own. */
#ifndef ECHOCTL_SESSION_SENDER_H
#define ECHOCTL_SESSION_SENDER_H

#include <stdatomic.h>
#include <stdint.h>

#include "echoctl/session/session.h"

enum sender_state {
	SENDER_WAITING,		/* for input */
	SENDER_SENDING,
	SENDER_FINISHED,	/* all is sent, and the FIN if one was wanted */
	SENDER_FAILED,		/* the connection failed: error */
	SENDER_INPUT_FAILED,	/* the input failed: error */
	SENDER_BROKEN,		/* this side failed: error */
};

/*
 * What the sender tells the receiver, in shared memory. Times are CLOCK_MONOTONIC; those of the
 * first byte and of the FIN are taken before the system call, so that no answer is earlier.
 */
struct sender_counters {
	_Atomic int state;		/* enum sender_state */
	_Atomic int error;
	_Atomic uint64_t sent;
	_Atomic uint64_t first_sent_ns;
	_Atomic uint64_t progress_ns;	/* when it last got on */
	_Atomic uint64_t fin_ns;
};

struct sender {
	int socket_fd;
	int receiver_fd;		/* ends when the receiver is gone or wants no more */
	const struct session_options *options;
	struct sender_counters *counters;
	struct inflight *inflight;	/* NULL: no comparison */
};

/* Sends all the input. Everything there is to say is in the counters afterwards. */
void sender_run(const struct sender *sender);

#endif
