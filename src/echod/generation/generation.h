/* SPDX-License-Identifier: MIT */
/* A generation: one listener, its scoreboard and its workers, under one set of settings. */
#ifndef ECHOD_GENERATION_GENERATION_H
#define ECHOD_GENERATION_GENERATION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "echod/generation/scoreboard.h"
#include "echod/generation/tally.h"
#include "echod/report/report.h"

struct generation;
struct sd_event;
struct sd_event_source;

enum generation_state {
	GENERATION_STARTING,	/* the listener has not said MESSAGE_READY yet */
	GENERATION_SERVING,	/* up to here it accepts, or will when it is ready */
	GENERATION_DRAINING,	/* told to stop accepting; lives until its last worker is gone */
	GENERATION_ORPHANED,	/* the listener is gone; its workers are our children now */
};

/* What a generation reports to its owner, which must not free it in such a call. */
struct generation_hooks {
	void (*ready)(void *context, struct generation *generation);
	void (*wake)(void *context, struct generation *generation);
	void (*event)(void *context, struct generation *generation, const struct event *event);
	void *context;
};

/* A worker whose listener died. */
struct orphan {
	pid_t pid;
	uint32_t slot;
	bool ended;
};

/* Sorted by process id. */
struct orphans {
	struct orphan *items;	/* owned */
	uint32_t count;
	uint32_t live;		/* those that have not ended */
};

struct generation {
	struct generation *next;	/* older */
	const struct generation_hooks *hooks;
	struct sd_event_source *channel_source;	/* NULL: the channel is closed */
	uint32_t wire_version;		/* version of its listener; 0: none that we could read */
	uint64_t number;		/* counts from 1 over the daemon's life */
	enum generation_state state;
	bool stopped;			/* was told to accept no more */
	pid_t listener_pid;		/* 0: it is gone */
	pid_t group;			/* the process group that it and its workers are */
	int channel_fd;			/* owned; -1: closed */
	unsigned unanswered;		/* pings since its last pong */
	uint64_t started_ns;		/* CLOCK_MONOTONIC */
	struct scoreboard scoreboard;
	struct orphans orphans;		/* GENERATION_ORPHANED */
	struct report_datagrams said_datagrams;
	struct tally adopted;		/* orphans, which the listener has not counted */
};

/*
 * True if a program of another WIRE_VERSION handed it over. Its listener can be told to stop, all
 * its workers together can be told to end, and its counters can be read; nothing else.
 */
bool generation_is_stranger(const struct generation *generation);

/*
 * Makes an empty one, without processes or descriptors; NULL: no memory. generation_free() frees
 * it.
 */
struct generation *generation_new(void);

/* Watches the channel of a generation that was made elsewhere. Returns 0 or -errno. */
int generation_watch(struct generation *generation, struct sd_event *loop,
		     const struct generation_hooks *hooks);

/* Kills no process: those that are left go on by themselves. NULL is allowed. */
void generation_free(struct generation *generation);

/* Tells the listener, if there still is one, to accept no more. */
void generation_stop(struct generation *generation, enum stop_reason reason);

/* Asks for MESSAGE_PONG, and so to look at the table. */
void generation_ping(struct generation *generation);

/* Sends SIGKILL to the listener; its workers go on. */
void generation_kill_listener(struct generation *generation);

/* Hands waiting events to hooks->event; returns how many. */
unsigned generation_drain(struct generation *generation);

/* The listener was reaped: takes over its workers, whose ends generation_reap() accounts. */
void generation_listener_gone(struct generation *generation, int status);

/*
 * Lists every worker that is in the dead listener's table and whose end was not in its ring (drain
 * that first), and frees the other entries that look live. Returns 0 or -ENOMEM; generation_free()
 * frees it.
 */
int orphans_list(const struct scoreboard *scoreboard, struct orphans *ret_orphans);

/* The orphan with this process id that has not ended, or NULL. */
struct orphan *orphans_find(const struct orphans *orphans, pid_t pid);

/*
 * Makes the event that the listener would have sent. usage: NULL if the listener had reaped the
 * worker.
 */
void orphan_event(const struct scoreboard *scoreboard, const struct orphan *orphan, int status,
		  const struct rusage *usage, uint64_t now_ns, struct event *ret_event);

/* True if pid was an orphan of this generation; it is accounted and handed to hooks->event. */
bool generation_reap(struct generation *generation, pid_t pid, int status,
		     const struct rusage *usage);

/*
 * Called when a child ended that no generation knows: accounts for it and returns true if it may
 * have been a worker of this one, which is a stranger and has no listener any more.
 */
bool generation_reap_stranger(struct generation *generation, int status);

/* True if it has neither listener nor workers any more. */
bool generation_is_gone(const struct generation *generation);

/* The path of a listening Unix socket, copied to path; "" of another one. */
const char *generation_unix_path(const struct generation *generation, uint32_t socket,
				 char path[UNIX_PATH_BYTES]);

uint32_t generation_live(const struct generation *generation);

/* Those of them that wait for their PROXY header. */
uint32_t generation_waiting(const struct generation *generation);

/* Adds what its live connections have received and sent so far. */
void generation_add_live_bytes(const struct generation *generation, uint64_t *in, uint64_t *out);

/* See report_datagrams(). */
void generation_report_datagrams(struct generation *generation, bool is_last, uint64_t now_ns);

/* Adds what it has done to tally. */
void generation_add_tally(const struct generation *generation, struct tally *tally);

/* Sets the number of live workers of other generations, which count against its limit, too. */
void generation_set_foreign(struct generation *generation, uint32_t live);

/*
 * Tells connection id (which has this slot) to end (SLOT_END_KILLED), by force if it still lives
 * two seconds later; a repeated order does not put that off. Returns 0, -ESRCH or -errno.
 */
int generation_kill_connection(struct generation *generation, uint64_t id);
int generation_kill_slot(struct generation *generation, uint32_t slot, uint64_t id);

/*
 * Repeats the order for all that got it and still live. Returns when the first of these got it
 * (CLOCK_MONOTONIC, ns), UINT64_MAX if there are none.
 */
uint64_t generation_kill_again(struct generation *generation);

/*
 * Ends every worker with this command and signal. The listener of a stranger gets the signal, too.
 */
void generation_end_workers(struct generation *generation, enum slot_command command, int signal);

#endif
