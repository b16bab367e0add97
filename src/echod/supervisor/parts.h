/* SPDX-License-Identifier: MIT */
/* What the parts of the supervisor ask of each other; nobody else includes this. */
#ifndef ECHOD_SUPERVISOR_PARTS_H
#define ECHOD_SUPERVISOR_PARTS_H

#include "echod/supervisor/supervisor.h"

#define START_DEADLINE_US (30 * UINT64_C(1000000))	/* from exec to MESSAGE_READY */
#define PING_DEADLINE_US (30 * UINT64_C(1000000)) /* a listener that is silent so long hangs */
#define PINGS 4u		/* in that time */

/* loop.c: the loop with all its sources (0 or -errno, logged), and what generations call. */
int loop_create(struct supervisor *supervisor);
struct generation_hooks loop_hooks(struct supervisor *supervisor);

/* Executes the new program as soon as no signal is left that was read and not handled. */
void loop_schedule_handover(struct supervisor *supervisor);

/* (Re)arms a timer to fire after this time. */
void supervisor_arm(struct sd_event_source *timer, uint64_t after_us);
/* One that runs stays as it is: what comes again and again would put it off. */
void supervisor_arm_idle(struct sd_event_source *timer, uint64_t after_us);
void supervisor_disarm(struct sd_event_source *timer);

/* start.c: a generation with these settings becomes supervisor->starting. 0 or -errno. */
int start_generation(struct supervisor *supervisor, const struct configuration *configuration,
		     const struct sockets *sockets);

/* supervisor.c: warns when systemd passed other sockets than listen names. */
void supervisor_compare_listen(const struct supervisor *supervisor);

/* It did not become ready: it is killed, and what it was started for is given up. */
void start_abandon(struct supervisor *supervisor);
void start_on_ready(struct supervisor *supervisor);

/* A listener that died is replaced, at once or after the back-off. */
void start_replacement(struct supervisor *supervisor);
void start_schedule_replacement(struct supervisor *supervisor, uint64_t lived_ms);

/*
 * reload.c: begins the reload that is wanted, goes on when the names in it were looked up, brings
 * it into force, or gives it up.
 */
void reload_begin(struct supervisor *supervisor);
void reload_go_on(struct supervisor *supervisor);
void reload_commit(struct supervisor *supervisor);
void reload_abandon(struct supervisor *supervisor);

/* reap.c: takes every child that has ended. */
void reap_children(struct supervisor *supervisor);

/* drain.c: the timers while a drain is on, and while a connection is being ended. */
void drain_step(struct supervisor *supervisor);
void kill_step(struct supervisor *supervisor);

/* status.c: STATUS= when it has changed. */
void status_tell(struct supervisor *supervisor);
void status_format(const struct supervisor *supervisor, char *text, size_t size);

#endif
