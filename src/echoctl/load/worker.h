/* SPDX-License-Identifier: MIT */
/* What the two halves of a load process share: its connections and its loop. */
#ifndef ECHOCTL_LOAD_WORKER_H
#define ECHOCTL_LOAD_WORKER_H

#include "echoctl/load/load.h"
#include "echoctl/probe/schedule.h"

#define LOAD_BUFFER_BYTES 262144

enum load_state {
	CLOSED,		/* to be opened at the next sweep */
	CONNECTING,
	IDLE,
	ECHOING,
	CLOSING,	/* our FIN is out, the peer's is awaited */
};

struct load_connection {
	enum load_state state;
	int fd;
	bool tried;			/* it was open once, or its first attempt has failed */
	bool queued;			/* stands in the idle queue, even if closed since */
	bool active;			/* carries a message */
	bool writes;			/* EPOLLOUT is asked for */
	uint64_t number;		/* among those of all processes */
	uint64_t message;		/* how many it has begun */
	const uint8_t *bytes;
	size_t sent_bytes;
	size_t received_bytes;
	uint64_t began_ns;		/* of connecting or of the message */
	uint64_t due_ns;
	uint64_t echoed_ns;		/* when the whole echo had come */
	struct load_connection *next;	/* in the idle queue */
};

struct load_worker {
	const struct load_plan *plan;
	const struct load_shared *shared;
	struct load_tally *tally;
	uint64_t index;
	struct load_connection *connections;
	size_t n_connections;
	struct load_connection *idle_first;
	struct load_connection *idle_last;
	size_t connecting;
	size_t untried;
	size_t active;			/* messages under way */
	uint64_t begun;			/* messages, of quota; some failed as connections */
	uint64_t quota;
	uint64_t dealt;			/* messages, of the schedule: what fails is no turn of it */
	struct schedule schedule;	/* events of all processes; ours are every n-th */
	uint64_t end_ns;		/* nothing begins after it; 0: before the start */
	uint64_t sweep_ns;
	int epoll_fd;
	uint8_t *buffer;
	int error;			/* -errno: this side cannot go on */
};

/* The connection is free for a message: long-lived and open, or to be opened for it. */
void load_connection_free(struct load_worker *worker, struct load_connection *connection);

/* The one that is free for the longest time; NULL when none is. */
struct load_connection *load_connection_first(struct load_worker *worker);

/*
 * Closes; counts a failed message, unless none was under way and none is left to begin. The error
 * is -errno, or what exchange_why() takes.
 */
void load_connection_fail(struct load_worker *worker, struct load_connection *connection,
			  enum load_phase phase, int error);

/* When this side has no socket for it that ends the process: the target has not failed. */
void load_connection_start(struct load_worker *worker, struct load_connection *connection,
			   uint64_t now_ns);

/* Once more for one that is connecting and has no socket: a Unix backlog was full. */
void load_connection_try(struct load_worker *worker, struct load_connection *connection);

/* Begins what is due, as long as a connection is free for it. */
void load_connection_begin_due(struct load_worker *worker, uint64_t now_ns);

/* Takes events of epoll(7). */
void load_connection_take(struct load_worker *worker, struct load_connection *connection,
			  uint32_t events);

/* Where it would fail if it did now. */
enum load_phase load_connection_phase(const struct load_worker *worker,
				      const struct load_connection *connection);

/* Not every message that there is time for has begun, or failed before it did. */
static inline bool load_worker_has_more(const struct load_worker *worker, uint64_t now_ns)
{
	return worker->begun < worker->quota && (worker->end_ns == 0 || now_ns < worker->end_ns);
}

/* Its time is over: what comes now comes too late. For what connects or carries a message. */
static inline bool load_worker_overdue(const struct load_worker *worker,
				       const struct load_connection *connection, uint64_t now_ns)
{
	uint64_t limit_us = connection->state == CONNECTING ? worker->plan->dial.timeout_us :
			    worker->plan->timeout_us;

	return now_ns - connection->began_ns > limit_us * 1000;
}

/* When the next message is due, with a rate. */
static inline uint64_t load_worker_due_ns(const struct load_worker *worker)
{
	/* Messages are dealt out in turn: ours are every n-th of the common schedule. */
	return schedule_due_ns(&worker->schedule,
			       worker->dealt * worker->plan->processes + worker->index);
}

#endif
