/* SPDX-License-Identifier: MIT */
/*
 * Why a connection ended or was refused, the event records that say so (listener to supervisor),
 * and the messages of the channel between them.
 */
#ifndef ECHOD_WIRE_EVENT_H
#define ECHOD_WIRE_EVENT_H

#include <assert.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/wait.h>

#include "wire/endpoint.h"

/* A worker's exit code is its end reason; a signal becomes END_KILLED or END_CRASHED. */
enum end_reason {
	END_FIN = 0,		/* the peer's FIN, everything echoed */
	END_IDLE,		/* no byte in either direction */
	END_STALL,		/* the peer does not read what we echo */
	END_SESSION,		/* the connection's time is over */
	END_RESET,		/* RST from the peer, or it vanished */
	END_DRAIN,		/* the daemon stops */
	END_KILLED,		/* an operator ended it, or SIGKILL/SIGTERM came */
	END_CRASHED,		/* any other signal */
	END_ERROR,		/* an error that is none of the above */
	END_COUNT
};

enum refuse_reason {
	REFUSE_CONNECTIONS = 0,	/* limits { connections }, at-limit = refuse */
	REFUSE_PER_SOURCE,	/* limits { connections-per-source } */
	REFUSE_RATE,		/* limits { rate-per-source } */
	REFUSE_ACCESS,		/* access { } */
	REFUSE_PROXY,		/* proxy { trust }: no PROXY header, or not in time */
	REFUSE_COUNT
};

#define END_NAMES { "fin", "idle", "stall", "session", "reset", "drain", \
		    "killed", "crashed", "error" }
#define REFUSE_NAMES { "connections", "connections-per-source", "rate-per-source", "access", \
		       "proxy" }

/*
 * Why a worker with this wait status (wait4(2)) ended. is_draining: it was told to end because the
 * daemon stops; then that is the reason even if it was killed.
 */
static inline enum end_reason end_of_status(int status, bool is_draining)
{
	int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	if (WIFEXITED(status) && WEXITSTATUS(status) < END_COUNT)
		return (enum end_reason)WEXITSTATUS(status);
	if (number == SIGKILL || number == SIGTERM)
		return is_draining ? END_DRAIN : END_KILLED;
	return number != 0 ? END_CRASHED : END_ERROR;
}

enum event_type {
	EVENT_OPENED = 1, /* a worker took a connection (only with SETTINGS_REPORT_OPEN) */
	EVENT_CLOSED,	  /* a worker was reaped; count 0: it has proved that no byte came */
	EVENT_REFUSED,	  /* accepted and closed; reason is enum refuse_reason */
	EVENT_STARVED,	  /* accept, fork or memory failed: detail is the errno, count how often */
	/* the datagram process, without an order: status; count 1: in spite of one it has not */
	EVENT_DATAGRAMS_ENDED,
	EVENT_LIMIT,	  /* count 1: the limit, detail, of connections was reached, 0: left */
};

struct event {
	uint32_t type;		/* enum event_type */
	uint32_t slot;		/* index into table and slots */
	uint64_t id;		/* connection's serial within its generation, from 1 */
	uint64_t start_ns;	/* CLOCK_MONOTONIC */
	uint64_t end_ns;	/* CLOCK_MONOTONIC, also the time of the event */
	uint64_t bytes_in;
	uint64_t bytes_out;
	int32_t pid;		/* worker */
	int32_t status;		/* wait status as of wait4(2) */
	uint32_t cpu_us;	/* user and system time of the worker */
	uint32_t rtt_us;	/* 0 = unknown */
	uint32_t retransmits;
	uint16_t reason;	/* enum end_reason or enum refuse_reason */
	uint16_t socket;	/* index of the listening socket */
	uint32_t detail;	/* errno, or what the type says */
	uint32_t count;		/* what the type says */
	struct endpoint peer;
	struct endpoint via;	/* as in struct entry */
	struct endpoint local;
	struct unique_id unique_id;	/* as in struct entry */
	uint32_t is_multipath;	/* as in struct entry */
};

static_assert(sizeof(struct event) == 288, "crosses a process border");

/* How long the connection lasted, 0 if its times are nonsense. */
static inline uint64_t event_duration_us(const struct event *event)
{
	return event->end_ns > event->start_ns ? (event->end_ns - event->start_ns) / 1000 : 0;
}

/*
 * Messages on the channel, one datagram each, both directions, non-blocking. The events themselves
 * travel in the ring of struct table; MESSAGE_WAKE only says that there are some. These messages
 * stay the same in later versions.
 */
enum message_type {
	MESSAGE_READY = 1,	/* listener: accepting; value: errno of a filter that is missing */
	MESSAGE_FAILED,		/* listener: cannot start; value = errno, text says at what */
	MESSAGE_WAKE,		/* listener: the ring holds events and the supervisor sleeps */
	MESSAGE_STOPPED,	/* listener: accepts no more, its sockets are closed */
	MESSAGE_PONG,		/* listener: answer to MESSAGE_PING with the same value */
	/* supervisor: stop accepting, exit when the last worker is gone; value: enum stop_reason */
	MESSAGE_STOP = 32,
	MESSAGE_PING,		/* supervisor: show that the loop turns */
};

enum stop_reason {
	STOP_REPLACED = 0,	/* another listener accepts: what waits for a worker gets one */
	STOP_END,		/* the daemon ends: what waits for a worker is refused */
};

struct message {
	uint32_t type;		/* enum message_type */
	uint32_t value;
	char text[56];		/* MESSAGE_FAILED: what failed, NUL-terminated */
};

static_assert(sizeof(struct message) == 64, "crosses a process border");

#endif
