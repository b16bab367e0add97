/* SPDX-License-Identifier: MIT */
/* The supervisor: one event loop over signals, generations, timers and the service manager. */
#ifndef ECHOD_SUPERVISOR_SUPERVISOR_H
#define ECHOD_SUPERVISOR_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/backoff.h"
#include "echod/command_line/options.h"
#include "echod/configuration/configuration.h"
#include "echod/generation/ending.h"
#include "echod/generation/generation.h"
#include "echod/generation/listener_program.h"
#include "echod/generation/tally.h"
#include "echod/report/report.h"
#include "echod/sockets/sockets.h"

#define SUPERVISOR_GENERATIONS_MAX 8u	/* alive; further reloads wait */

struct supervisor {
	struct sd_event *loop;
	const struct options *options;
	struct configuration *configuration;	/* in force; owned */
	int configuration_fd;		/* owned: the file, for when its path cannot be walked */
	struct sockets sockets;		/* in force */
	struct program listener;
	struct report *report;
	struct control *control;	/* NULL: there is none */
	struct sampler *sampler;
	uint64_t metrics_ns;		/* when the metrics file is due */
	bool metrics_failed;		/* and that was said */
	struct generation_hooks hooks;

	struct generation *generations;	/* newest first, owned */
	struct generation *current;	/* accepts connections; NULL: its listener died */
	struct generation *starting;	/* not ready yet, or NULL */
	uint64_t generation_count;	/* since the start */

	/* What a reload brings into force when its generation is ready. */
	struct configuration *next_configuration;
	int next_configuration_fd;
	struct sockets next_sockets;
	struct lookup *lookup;		/* NULL, or it waits for the names in its listen */

	struct tally retired;		/* of generations that are gone */
	uint64_t listener_restarts;
	uint64_t events_dropped;	/* as far as the log was told */
	uint64_t started_ns;		/* CLOCK_MONOTONIC */
	uint64_t started_realtime_us;
	uint64_t reloaded_realtime_us;	/* when the settings in force came */

	bool is_ready;			/* READY=1 was sent */
	bool reload_wanted;
	bool reload_running;		/* RELOADING=1 was sent, READY=1 not again yet */
	bool reload_delay_said;
	bool handover_failed;		/* in the reload that is wanted */
	struct ending ending;

	struct backoff backoff;
	bool replacement_due;		/* the timer of the back-off runs */
	uint32_t ping;			/* value of the last MESSAGE_PING */
	unsigned unanswered;		/* pings since the current listener's last pong */
	uint64_t watchdog_us;		/* of the service manager; 0 = none */
	uint64_t flush_ns;		/* when report_flush() is due */
	uint64_t foreign_ns;		/* no count of sources for the listeners before that */
	char status[160];		/* as last told */

	struct sd_event_source *ring_timer;
	struct sd_event_source *start_timer;
	struct sd_event_source *replace_timer;
	struct sd_event_source *drain_timer;
	struct sd_event_source *second_timer;
	struct sd_event_source *ping_timer;
	struct sd_event_source *log_timer;
	struct sd_event_source *kill_timer;
	struct sd_event_source *foreign_timer;
	struct sd_event_source *handover_source;
};

/*
 * Runs the daemon until it is drained. configuration (owned from now on) came from
 * configuration_fd (owned, may be -1). Returns 0 after a clean stop, -errno when it could not
 * start (what failed is logged).
 */
int supervise(const struct options *options, struct configuration *configuration,
	      int configuration_fd);

/*
 * The same for a program that takes over: the state is that of handover.h (owned). It goes on
 * with the settings that were in force and reloads at once.
 */
int supervise_again(const struct options *options, int state_fd);

/* What SIGHUP does. Coalesced: while one runs, all further ones together are one more. */
void supervisor_reload(struct supervisor *supervisor);

/* What SIGTERM does; the second call ends the remaining connections at once. */
void supervisor_drain(struct supervisor *supervisor);

/* Sum over all generations, dead ones too. */
void supervisor_tally(const struct supervisor *supervisor, struct tally *ret_tally);

/* Live connections of all generations, of all but one, and how many generations are alive. */
uint32_t supervisor_live(const struct supervisor *supervisor);
uint32_t supervisor_foreign_live(const struct supervisor *supervisor,
				 const struct generation *generation);
unsigned supervisor_generations(const struct supervisor *supervisor);

/*
 * Ends connection id of generation number in an orderly way (end=killed), by force when it has
 * not ended two seconds later. Returns 0, -ESRCH when there is none, or -errno.
 */
int supervisor_kill(struct supervisor *supervisor, uint64_t number, uint64_t id);

/* The same for one that has this slot of a generation, without a search. */
int supervisor_kill_slot(struct supervisor *supervisor, struct generation *generation,
			 uint32_t slot, uint64_t id);

/* SIGUSR1: one line of totals. */
void supervisor_log_totals(const struct supervisor *supervisor);

#endif
