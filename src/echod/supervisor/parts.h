/* SPDX-License-Identifier: MIT */
/* What the files of this room call in each other; no other room includes this. */
#ifndef ECHOD_SUPERVISOR_PARTS_H
#define ECHOD_SUPERVISOR_PARTS_H

#include "echod/state/state.h"

#define START_DEADLINE_US (30 * UINT64_C(1000000))	/* from exec to MESSAGE_READY */

/* loop.c: the loop with all its sources. 0 or -errno (logged). */
int loop_create(struct supervisor *supervisor);

/* Reaps every child that has ended. */
void reap_children(struct supervisor *supervisor);

/*
 * reload.c: starts a generation with these settings, which becomes supervisor->starting (except
 * with --inetd, where nothing waits for it). 0 or -errno.
 */
int start_generation(struct supervisor *supervisor, const struct configuration *configuration,
		     const struct sockets *sockets, const struct program *listener);

/* Replaces a listener that died, at once or after the back-off. */
void start_replacement(struct supervisor *supervisor);
void start_schedule_replacement(struct supervisor *supervisor, uint64_t lived_ms);

/* Begins the reload that is wanted. */
void reload_begin(struct supervisor *supervisor);

/*
 * supervisor->starting serves; or it did not become ready, so it is killed and the reload is given
 * up.
 */
void turnover_ready(struct supervisor *supervisor);
void turnover_abandon(struct supervisor *supervisor);

/*
 * drain.c: begins the end of the daemon; a second call speeds it up. The timers call the steps
 * during a drain, and while single connections are being ended.
 */
void drain_go_on(struct supervisor *supervisor);
void drain_step(struct supervisor *supervisor);
void kill_step(struct supervisor *supervisor);

/* status.c: updates supervisor->status. Returns true if it has changed. */
bool status_update(struct supervisor *supervisor);

/* Writes metrics { file } when it is due. */
void status_write_metrics(struct supervisor *supervisor, uint64_t now_ns);

/* The time of day, to be shown: it may be set at any time. */
uint64_t status_realtime_us(void);

/* SIGUSR1: one line of totals. */
void status_log_totals(const struct supervisor *supervisor);

/* Warns if systemd passed other sockets than listen names. */
void status_compare_listen(const struct supervisor *supervisor);

#endif
