/* SPDX-License-Identifier: MIT */
/* What a listener knows, and what its parts do for each other. */
#ifndef LISTENER_LISTENER_H
#define LISTENER_LISTENER_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/pace.h"
#include "listener/proxy.h"
#include "listener/tables.h"
#include "wire/endpoint.h"
#include "wire/event.h"
#include "wire/scoreboard.h"
#include "wire/settings.h"

/*
 * This real-time signal, and not SIGCHLD, reports a worker's end. Real-time signals queue, each
 * with its process id, so that the listener can wait for that one process. wait4(-1) walks along
 * all children of the caller, which takes a millisecond with 10,000 of them.
 */
#define REAP_SIGNAL (SIGRTMIN)

#define RANDOM_WORDS 32u	/* as much as getrandom(2) always gives at once */

/* An accepted connection that has no worker yet. */
struct connection {
	int fd;			/* -1: none */
	uint32_t socket;	/* index of the listening socket */
	uint32_t source;	/* node in sources, SOURCES_NONE */
	uint32_t flags;		/* enum worker_flag */
	uint64_t start_ns;
	struct endpoint peer;
	struct endpoint via;	/* as in struct entry */
	struct endpoint local;
	struct unique_id unique_id;
	bool is_multipath;	/* MPTCP */
};

/* A connection of a balancer whose PROXY header is not whole yet. */
struct waiting {
	struct connection connection;
	uint64_t deadline_ns;
	size_t size;		/* of what was taken from the socket so far */
	uint8_t bytes[PROXY_HEADER_MAX];
};

/* A resource (descriptors, memory, processes) is short: no accept before the deadline or a reap. */
struct starvation {
	uint64_t retry_ns;	/* 0: not starved, a reap or the loop's clock set it back */
	uint64_t report_ns;	/* no event before that time */
	uint32_t count;		/* since the last event */
};

/* The datagram process. */
struct datagram_process {
	bool is_wanted;			/* there are datagram sockets, and it shall run */
	bool is_given_up;		/* it was told to end in vain */
	uint32_t looks;			/* in a row that saw datagrams wait and none received */
	uint64_t received;		/* at the last look */
	_Atomic int32_t pid;		/* 0: none */
	int life[2];			/* the pipe whose hang-up ends it */
	struct datagrams *counters;	/* it alone writes them; no worker inherits them */
	uint64_t start_ns;
	uint64_t due_ns;		/* when the next one may be forked, or this one must end */
	struct backoff backoff;
};

/* Lies in memory of tables_memory(): a worker must not know the proofs of later workers. */
struct listener {
	const char *step;		/* of the start, for MESSAGE_FAILED */
	const struct settings *settings;
	struct table *table;
	struct slot *shared;		/* the workers' slots; untrusted */
	const _Atomic uint64_t *commands;	/* one for each slot, the supervisor writes them */
	uint32_t worker_flags;		/* enum worker_flag, of every worker */
	int missing_filter;		/* errno of the seccomp filter that it goes without, or 0 */
	int channel_fd;			/* -1: the supervisor is gone */
	int signal_fd;			/* the ends of workers, one record each */
	int sockets[SETTINGS_MAX_SOCKETS];
	bool is_multipath[SETTINGS_MAX_SOCKETS];	/* of each, see accept_is_multipath() */

	uint64_t next_id;
	bool is_stopping;
	bool is_at_limit;		/* EVENT_LIMIT was sent */
	struct connection pending;	/* accepted, waits for a worker */
	struct starvation starvation;
	struct datagram_process datagrams;
	uint64_t sweep_ns;		/* next look for ends without a signal */

	struct waiting *waiting[SETTINGS_MAX_WAITING];	/* those that are in use come first */
	uint32_t waiting_count;

	struct slots slots;
	struct sources sources;
	uint64_t random[RANDOM_WORDS];	/* for the proofs of workers */
	uint32_t random_left;
};

/* Connections that have a worker or wait for their PROXY header. */
static inline uint32_t listener_live(const struct listener *listener)
{
	return atomic_load_explicit(&listener->table->live, memory_order_relaxed);
}

static inline void listener_set_live(struct listener *listener, uint32_t live)
{
	atomic_store_explicit(&listener->table->live, live, memory_order_relaxed);
}

/*
 * Takes over the descriptors of enum listener_fd: checks settings, table and slots and maps them,
 * prepares the sockets, enters the sandbox. Returns 0, or -errno; listener->step then names the
 * step that failed. Descriptors stay open even then, since the process ends.
 */
int start_listener(struct listener *listener);

/* Serves until it was told to stop and the last worker is reaped. */
void loop_run(struct listener *listener);

/*
 * True if fd is an MPTCP socket. A listening one has fewer options than a TCP socket, and the plain
 * TCP connections that it also accepts inherit even fewer: their workers set them.
 */
bool accept_is_multipath(int fd);

/* True if the limit is reached by the connections of this and of older generations. */
bool accept_at_limit(const struct listener *listener);

/* Reports that the limit is reached, or that the number has fallen an eighth below it. */
void accept_note_limit(struct listener *listener);

/* True if an accepted connection may get a worker now. */
static inline bool listener_can_start(const struct listener *listener)
{
	return listener->pending.fd < 0 && listener->starvation.retry_ns == 0;
}

/* True if the listening sockets belong into the poll set. */
bool accept_is_open(const struct listener *listener);

/* Takes a bounded number of connections from one socket that is readable. */
void accept_turn(struct listener *listener, uint32_t socket);

/*
 * Reads on from those that wait for their PROXY header, which are in polled; serves those that have
 * it, and refuses those that are wrong or late.
 */
void accept_announced(struct listener *listener, const struct pollfd *polled, uint32_t count);

/* Tries again to fork a worker for the connection that waits for one, unless still starved. */
void accept_pending(struct listener *listener);

/* Refuses the connections that wait for a worker or their PROXY header. */
void accept_give_up(struct listener *listener);

/* Serves the one connection of MODE_SINGLE, which another program has accepted. */
void accept_single(struct listener *listener);

/* Makes room for those that wait for their PROXY header, if any may. Returns 0 or -ENOMEM. */
int waiting_init(struct listener *listener);

/* One more waits for its PROXY header and is a live connection. There must be room. */
void waiting_add(struct listener *listener, const struct connection *connection);

/*
 * Takes what came of the header, and nothing of what is behind it. Returns 1 if it is whole:
 * *ret_header is as of proxy_parse(); 0 if it is not; -ENODATA or -errno if the connection has
 * ended before its first byte; -EPROTO if it is wrong or ends too soon.
 */
int waiting_read(struct waiting *waiting, struct proxy_header *ret_header);

/* The index-th no longer waits; the last one takes its place. The caller has the connection. */
struct connection waiting_remove(struct listener *listener, uint32_t index);

/* When the first of those that wait is late; UINT64_MAX: none does. */
uint64_t waiting_deadline_ns(const struct listener *listener);

/*
 * Forks a worker for connection, fills its entry and slot, and closes the connection here.
 * Returns 0, or -errno (-EAGAIN, -ENOMEM: no process or memory) and then nothing has changed:
 * the caller still has the connection.
 */
int workers_start(struct listener *listener, struct connection *connection);

/* Reaps those whose records wait in signal_fd, a bounded number a call. */
void workers_reap(struct listener *listener);

/* Counts the end of a connection that is no longer live. */
void workers_account(struct listener *listener, const struct event *event);

/* Reaps all that have ended, with or without a signal; its cost grows with the live workers. */
void workers_reap_all(struct listener *listener);

/* Whether there is, or shall be, a datagram process. */
static inline bool datagrams_live(const struct listener *listener)
{
	return listener->datagrams.is_wanted || listener->datagrams.pid != 0;
}

/* When datagrams_tend() has something to do; UINT64_MAX: not by the clock. */
uint64_t datagrams_due_ns(const struct listener *listener);

/*
 * Forks the datagram process if there shall be one, there is none and its back-off is over. Gives
 * up one that was told to end long ago.
 */
void datagrams_tend(struct listener *listener, uint64_t now_ns);

/* To be called now and then. True if it reads nothing of what has come. */
bool datagrams_hang(struct listener *listener);

/* If pid was the datagram process: tells the supervisor that it has ended. */
void datagrams_reaped(struct listener *listener, pid_t pid, int status);

/* It answers what it has and ends; it is not made again. */
void datagrams_stop(struct listener *listener);

/*
 * Sends a message; with MESSAGE_FAILED the listener's step goes as its text. Returns 0 or -errno
 * (-EAGAIN: the supervisor does not read; -EPIPE: it is gone).
 */
int channel_send(struct listener *listener, enum message_type type, uint32_t value);

/*
 * Appends a copy to the ring of the table; never blocks, drops and counts if it is full. Wakes the
 * supervisor if it has said that it sleeps.
 */
void events_put(struct listener *listener, const struct event *event);

/* Puts an event that is of no connection. */
void events_note(struct listener *listener, enum event_type type, uint64_t now_ns, uint32_t detail,
		uint32_t count);

/* What is known of a connection when it starts. */
struct event events_about(const struct connection *connection, enum event_type type);

/*
 * A resource is short (error is a negative errno): no accept until a worker has ended or 100 ms are
 * over. Makes at most one event a second, with the count.
 */
void events_starve(struct listener *listener, int error, uint64_t now_ns);

/* A counter of the totals, which only the listener writes. */
static inline void events_count(_Atomic uint64_t *counter, uint64_t more)
{
	uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);

	/* a reader that sees the end of a connection must see that it was accepted, too */
	atomic_store_explicit(counter, old + more, memory_order_release);
}

#endif
