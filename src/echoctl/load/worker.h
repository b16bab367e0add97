/* SPDX-License-Identifier: MIT */
/* One process of load: its connections, and what its loop does with them. */
#ifndef ECHOCTL_LOAD_WORKER_H
#define ECHOCTL_LOAD_WORKER_H

#include "echoctl/load/load.h"
#include "echoctl/probe/exchange.h"
#include "echoctl/probe/schedule.h"

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
	struct exchange exchange;	/* of the latest message */
	uint64_t began_ns;		/* of connecting or of the message */
	uint64_t due_ns;
	uint64_t echoed_ns;		/* when the whole echo had come */
	struct load_connection *next;	/* in the idle queue */
};

struct load_worker {
	const struct load *load;
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
	int error;			/* -errno: this side cannot go on */
};

/* Takes events of epoll(7). */
void load_worker_take(struct load_worker *worker, struct load_connection *connection,
		      uint32_t events);

#endif
