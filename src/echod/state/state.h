/* SPDX-License-Identifier: MIT */
/*
 * What the supervisor knows. Control, metrics and handover read it; control also notes the requests
 * of its clients. Only the supervisor acts on it.
 */
#ifndef ECHOD_STATE_STATE_H
#define ECHOD_STATE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pace.h"
#include "echod/command_line/options.h"
#include "echod/configuration/configuration.h"
#include "echod/generation/generation.h"
#include "echod/generation/launch.h"
#include "echod/report/report.h"
#include "echod/sockets/sockets.h"

#define STATE_GENERATIONS_MAX 8u	/* alive; further reloads wait */
#define STATE_KILL_INTERVAL_US 100000u	/* between two tries to end connections */

/* The phases in which the daemon ends, with all its connections. */
enum ending {
	ENDING_NONE,
	ENDING_WAIT,		/* connections may end by themselves */
	ENDING_ORDER,		/* workers are told to end in an orderly way */
	ENDING_KILL,		/* what is left is killed */
};

/* loop.c has the action of each. */
enum supervisor_timer {
	TIMER_RING,		/* events may wait in a ring */
	TIMER_START,		/* a listener should be ready by now */
	TIMER_REPLACE,		/* the back-off before a replacement is over */
	TIMER_DRAIN,
	TIMER_KILL,
	TIMER_SECOND,
	TIMER_PING,
	TIMER_LOG,		/* lines wait for their sink */
	TIMER_HANDOVER,		/* the program on disk takes over as soon as the loop is idle */
	TIMER_COUNT
};

struct supervisor {
	enum settings_mode mode;	/* MODE_SINGLE: --inetd, one connection and then the end */
	struct sd_event *loop;
	const struct options *options;
	struct configuration *configuration;	/* in force; owned */
	int configuration_fd;		/* owned: the file, used if its path cannot be walked */
	struct sockets sockets;		/* in force */
	struct program listener;	/* the one that serves: it is started again if it dies */
	struct report report;
	struct control *control;	/* NULL: there is none */
	uint64_t metrics_ns;		/* when the metrics file is due */
	bool metrics_failed;		/* and that was logged */
	struct generation_hooks hooks;

	struct generation *generations;	/* newest first, owned */
	struct generation *current;	/* accepts connections; NULL: its listener died */
	struct generation *starting;	/* not ready yet, or NULL */
	uint64_t generation_count;	/* since the start */

	/* What a reload puts into force when its generation is ready. */
	struct configuration *next_configuration;
	int next_configuration_fd;
	struct sockets next_sockets;
	struct program next_listener;

	struct tally retired;		/* of generations that are gone */
	uint64_t listener_restarts;
	uint64_t events_dropped;	/* the number that the log has reported */
	uint64_t started_ns;		/* CLOCK_MONOTONIC */
	uint64_t started_realtime_us;
	uint64_t reloaded_realtime_us;	/* when the settings in force were loaded */

	/* Wishes of signals and clients: the loop acts on them after the event is handled. */
	bool reload_wanted;
	bool drain_wanted;
	bool kill_wanted;		/* kill_step() looks after connections that end */

	bool is_ready;			/* READY=1 was sent */
	bool reload_delay_said;
	bool handover_failed;		/* in the reload that is wanted */
	enum ending ending;
	uint64_t ending_deadline_ns;	/* of this phase, CLOCK_MONOTONIC */

	struct backoff backoff;
	bool replacement_due;		/* the timer of the back-off runs */
	uint64_t watchdog_us;		/* of the service manager; 0 = none */
	uint64_t flush_ns;		/* when report_flush() is due */
	char status[192];		/* as last sent */

	struct sd_event_source *timers[TIMER_COUNT];
};

/* The counters since the start of the daemon, including generations that are gone. */
void totals_sum(const struct supervisor *supervisor, struct tally *ret_tally);

/* Live connections of all generations, and of all but one. */
uint32_t totals_live(const struct supervisor *supervisor);
uint32_t totals_foreign_live(const struct supervisor *supervisor,
			     const struct generation *generation);

/* Those of them that wait for their PROXY header. */
uint32_t totals_waiting(const struct supervisor *supervisor);

/* Bytes that the live connections have received and sent so far. */
void totals_live_bytes(const struct supervisor *supervisor, uint64_t *ret_in, uint64_t *ret_out);

/* The number of live generations. */
unsigned totals_generations(const struct supervisor *supervisor);

/* Sets a one-shot timer to fire after this time, even if it is running already. */
void timer_arm(struct sd_event_source *timer, uint64_t after_us);

/* The same, unless it is running already: repeated calls must not put it off again and again. */
void timer_arm_idle(struct sd_event_source *timer, uint64_t after_us);

void timer_disarm(struct sd_event_source *timer);

#endif
