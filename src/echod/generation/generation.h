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

struct generation;
struct sd_event;
struct sd_event_source;

enum generation_state {
	GENERATION_STARTING,	/* the listener has not said MESSAGE_READY yet */
	GENERATION_SERVING,	/* up to here it takes new connections, or will when it is ready */
	GENERATION_DRAINING,	/* told to stop accepting; lives until its last worker is gone */
	GENERATION_ORPHANED,	/* the listener is gone; its workers are our children now */
};

/* What a generation tells its owner, who must not free it meanwhile. */
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
	uint32_t wire_version;		/* what it speaks; 0: what nobody else does */
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
	struct tally adopted;		/* what the listener has not counted: orphans */
};

/*
 * It was handed over by a program of another WIRE_VERSION. Its listener can be told to stop, its
 * workers can be told to end all together, and its counters can be read. More is not known of it.
 */
bool generation_is_stranger(const struct generation *generation);

/* One without processes, memory or descriptors, for generation_free(); NULL without memory. */
struct generation *generation_new(void);

/* Watches the channel of a generation that was made elsewhere. Returns 0 or -errno. */
int generation_watch(struct generation *generation, struct sd_event *loop,
		     const struct generation_hooks *hooks);

/* Kills nothing: processes that it still has go on by themselves. NULL is allowed. */
void generation_free(struct generation *generation);

/* Tells the listener to accept no more. One that is gone is left alone. */
void generation_stop(struct generation *generation, enum stop_reason reason);

/* Asks for MESSAGE_PONG, and so to look at the table. */
void generation_ping(struct generation *generation);

/* By SIGKILL; its workers go on. */
void generation_kill_listener(struct generation *generation);

/* Hands waiting events to hooks->event; returns how many. */
unsigned generation_drain(struct generation *generation);

/* The listener was reaped: takes over its workers, whose ends generation_reap() accounts. */
void generation_listener_gone(struct generation *generation, int status);

/*
 * Lists every worker that the dead listener's table names and whose end was not in its ring
 * (which has to be drained before), and frees the entries of the others that pass for live. Returns
 * 0 or -ENOMEM; generation_free() frees it.
 */
int orphans_list(const struct scoreboard *scoreboard, struct orphans *ret_orphans);

/* The orphan with this process id that has not ended, or NULL. */
struct orphan *orphans_find(const struct orphans *orphans, pid_t pid);

/* Makes the event that the listener would have sent. usage: NULL if it had taken the status. */
void orphan_event(const struct scoreboard *scoreboard, const struct orphan *orphan, int status,
		  const struct rusage *usage, uint64_t now_ns, struct event *ret_event);

/* True if pid was an orphan of this generation; it is accounted and handed to hooks->event. */
bool generation_reap(struct generation *generation, pid_t pid, int status,
		     const struct rusage *usage);

/*
 * A child ended that no generation knows: true if it may have been a worker of this one, which is a
 * stranger and whose listener is gone. It is accounted.
 */
bool generation_reap_stranger(struct generation *generation, int status);

/* Nothing of it is left. */
bool generation_is_gone(const struct generation *generation);

/* The path of a listening Unix socket, copied to path; "" of another one. */
const char *generation_unix_path(const struct generation *generation, uint32_t socket,
				 char path[UNIX_PATH_BYTES]);

uint32_t generation_live(const struct generation *generation);

/* Adds what its live connections have received and sent so far. */
void generation_add_live_bytes(const struct generation *generation, uint64_t *in, uint64_t *out);

/* Adds what it has done to tally. */
void generation_add_tally(const struct generation *generation, struct tally *tally);

/* Live workers of other generations, which count against its limit too. */
void generation_set_foreign(struct generation *generation, uint32_t live);

/*
 * Tells connection id (which has this slot) to end (SLOT_END_KILLED), by force when it still lives
 * two seconds later; saying it again does not put that off. Returns 0, -ESRCH or -errno.
 */
int generation_kill_connection(struct generation *generation, uint64_t id);
int generation_kill_slot(struct generation *generation, uint32_t slot, uint64_t id);

/*
 * Repeats it for all that were told so and still live. Returns when the first of these was told
 * (CLOCK_MONOTONIC, ns), UINT64_MAX if there are none.
 */
uint64_t generation_kill_again(struct generation *generation);

/* Ends every worker with this command and signal, which the listener of a stranger gets too. */
void generation_end_workers(struct generation *generation, enum slot_command command, int signal);

#endif
