/* SPDX-License-Identifier: MIT */
/* The event loop: what comes in is noted by the handlers, settle() decides what to do about it. */
#include <inttypes.h>
#include <signal.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "echod/control/control.h"
#include "echod/handover/give.h"
#include "echod/log/log.h"
#include "echod/metrics/metrics.h"
#include "echod/metrics/sampler.h"
#include "echod/sockets/lookup.h"
#include "echod/state/timer.h"
#include "echod/state/totals.h"
#include "echod/supervisor/parts.h"

#define RING_INTERVAL_US 20000u		/* between two looks into busy rings */
#define LOG_INTERVAL_US 100000u		/* between two tries to write what waits for a sink */
#define SECOND_US UINT64_C(1000000)
#define METRICS_INTERVAL_NS (15 * UINT64_C(1000000000))	/* a usual scrape interval */

/* Each listener counts the live connections of all the others against its own limit. */
static void share_live(struct supervisor *supervisor)
{
	for (struct generation *i = supervisor->generations; i; i = i->next)
		if (generation_accepts(i))
			generation_set_foreign(i, totals_foreign_live(supervisor, i));
}

static void read_rings(struct supervisor *supervisor)
{
	unsigned count = 0;
	bool is_idle = true;

	for (struct generation *i = supervisor->generations; i; i = i->next)
		count += generation_drain(i);
	share_live(supervisor);
	if (count)
		supervisor->flush_ns = report_flush(&supervisor->report, clock_now_ns());
	if (!count)
		for (struct generation *i = supervisor->generations; i; i = i->next)
			is_idle = scoreboard_sleep(&i->scoreboard) && is_idle;
	if (count || !is_idle)
		timer_arm(supervisor->ring_timer, RING_INTERVAL_US);
}

static void on_ready(void *context, struct generation *generation)
{
	struct supervisor *supervisor = context;

	/* The others went on accepting while this one started, and that makes no event. */
	share_live(supervisor);
	if (generation == supervisor->starting)
		turnover_ready(supervisor);
}

static void on_wake(void *context, struct generation *generation)
{
	struct supervisor *supervisor = context;

	(void)generation;
	timer_arm(supervisor->ring_timer, 0);
}

static void on_pong(void *context, struct generation *generation, uint32_t value)
{
	watchdog_pong(context, generation, value);
}

static void on_event(void *context, struct generation *generation, const struct event *event)
{
	struct supervisor *supervisor = context;
	const char *path = event->socket < generation->socket_count ?
		generation->unix_paths[event->socket] : NULL;

	report_event(&supervisor->report, event, path, clock_now_ns());
}

struct generation_hooks loop_hooks(struct supervisor *supervisor)
{
	return (struct generation_hooks){ on_ready, on_wake, on_pong, on_event, supervisor };
}

static void retire_generations(struct supervisor *supervisor)
{
	for (struct generation **link = &supervisor->generations; *link;) {
		struct generation *generation = *link;

		if (!generation_is_gone(generation) || generation == supervisor->current ||
		    generation == supervisor->starting) {
			link = &generation->next;
			continue;
		}
		*link = generation->next;
		log_debug("generation %" PRIu64 " is gone", generation->number);
		generation_add_tally(generation, &supervisor->retired);
		generation_free(generation);
	}
}

/* What a client asked for; a reload has to wait for its turn. */
static void grant_wishes(struct supervisor *supervisor)
{
	if (supervisor->drain_wanted && supervisor->ending.phase == ENDING_NONE)
		drain_go_on(supervisor);
	if (supervisor->kill_wanted)
		timer_arm_idle(supervisor->kill_timer, ENDING_STEP_US);
	supervisor->drain_wanted = supervisor->kill_wanted = false;
}

/* Runs after every event: one place where the next step is chosen. */
static int settle(sd_event_source *source, void *context)
{
	struct supervisor *supervisor = context;

	(void)source;
	grant_wishes(supervisor);
	retire_generations(supervisor);
	if (supervisor->ending.phase != ENDING_NONE) {
		if (!supervisor->generations) {
			control_note_drained(supervisor->control);
			sd_event_exit(supervisor->loop, 0);
		}
	} else if (supervisor->lookup && lookup_is_over(supervisor->lookup) &&
		   !supervisor->starting) {
		reload_go_on(supervisor);
	} else if (supervisor->reload_wanted && supervisor->is_ready && !supervisor->starting &&
		   !supervisor->lookup) {
		reload_begin(supervisor);
	} else if (supervisor->is_ready && !supervisor->current) {
		start_schedule_replacement(supervisor, 0);
	}
	if (!log_flush())
		timer_arm(supervisor->log_timer, LOG_INTERVAL_US);
	return 0;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *context)
{
	struct supervisor *supervisor = context;

	(void)source;
	switch (info->ssi_signo) {
	case SIGCHLD:
		reap_children(supervisor);
		share_live(supervisor);
		break;
	case SIGHUP:
		supervisor->reload_wanted = true;
		break;
	case SIGUSR1:
		status_log_totals(supervisor);
		break;
	default:
		drain_go_on(supervisor);
		break;
	}
	return 0;
}

static int on_ring_timer(sd_event_source *source, uint64_t now_us, void *context)
{
	(void)source;
	(void)now_us;
	read_rings(context);
	return 0;
}

/* It has done its part by waking the loop: settle() flushes. */
static int on_log_timer(sd_event_source *source, uint64_t now_us, void *context)
{
	(void)source;
	(void)now_us;
	(void)context;
	return 0;
}

static int on_start_timer(sd_event_source *source, uint64_t now_us, void *context)
{
	(void)source;
	(void)now_us;
	log_error("a listener was not ready within %" PRIu64 " s", START_DEADLINE_US / SECOND_US);
	turnover_abandon(context);
	return 0;
}

static int on_replace_timer(sd_event_source *source, uint64_t now_us, void *context)
{
	(void)source;
	(void)now_us;
	start_replacement(context);
	return 0;
}

static int on_drain_timer(sd_event_source *source, uint64_t now_us, void *context)
{
	(void)source;
	(void)now_us;
	drain_step(context);
	return 0;
}

static int on_kill_timer(sd_event_source *source, uint64_t now_us, void *context)
{
	(void)source;
	(void)now_us;
	kill_step(context);
	return 0;
}

static void write_metrics(struct supervisor *supervisor, uint64_t now_ns)
{
	const char *path = supervisor->configuration->metrics.file;
	int result;

	if (!path || now_ns < supervisor->metrics_ns)
		return;
	supervisor->metrics_ns = now_ns + METRICS_INTERVAL_NS;
	result = metrics_write_file(supervisor, path);
	if (result < 0 && !supervisor->metrics_failed)
		log_errno(LOG_WARNING, result, "metrics.file: %s", path);
	supervisor->metrics_failed = result < 0;
}

/* The ring was full: the counters are right, lines are missing. */
static void tell_dropped(struct supervisor *supervisor)
{
	struct tally tally;

	totals_sum(supervisor, &tally);
	if (tally.events_dropped > supervisor->events_dropped)
		log_warning("%" PRIu64 " events found no room in the ring and are not logged",
			    tally.events_dropped - supervisor->events_dropped);
	supervisor->events_dropped = tally.events_dropped;
}

static int on_handover(sd_event_source *source, void *context)
{
	struct supervisor *supervisor = context;

	(void)source;
	/* TERM may have come since. When this returns the program stays, and settle() reloads. */
	if (supervisor->ending.phase == ENDING_NONE)
		supervisor->handover_failed = handover_execute(supervisor) < 0;
	return 0;
}

static int on_second_timer(sd_event_source *source, uint64_t now_us, void *context)
{
	struct supervisor *supervisor = context;
	uint64_t now_ns = clock_now_ns();

	(void)source;
	(void)now_us;
	/* Older ones take connections until they are told to stop, and that makes no event. */
	share_live(supervisor);
	sampler_take(supervisor->sampler, supervisor);
	write_metrics(supervisor, now_ns);
	if (supervisor->is_ready)
		status_tell(supervisor);
	tell_dropped(supervisor);
	if (supervisor->flush_ns <= now_ns)
		supervisor->flush_ns = report_flush(&supervisor->report, now_ns);
	timer_arm(supervisor->second_timer, SECOND_US);
	return 0;
}

static int on_ping_timer(sd_event_source *source, uint64_t now_us, void *context)
{
	(void)source;
	(void)now_us;
	watchdog_ping(context);
	return 0;
}

static int add_timer(struct supervisor *supervisor, sd_event_time_handler_t handler,
		     struct sd_event_source **ret_timer)
{
	int result = sd_event_add_time_relative(supervisor->loop, ret_timer, CLOCK_MONOTONIC, 0,
						1000, handler, supervisor);

	return result < 0 ? result : sd_event_source_set_enabled(*ret_timer, SD_EVENT_OFF);
}

int loop_create(struct supervisor *supervisor)
{
	const int signals[] = { SIGCHLD, SIGHUP, SIGUSR1, SIGTERM, SIGINT };
	const struct {
		sd_event_time_handler_t handler;
		struct sd_event_source **timer;
	} timers[] = {
		{ on_ring_timer, &supervisor->ring_timer },
		{ on_start_timer, &supervisor->start_timer },
		{ on_replace_timer, &supervisor->replace_timer },
		{ on_drain_timer, &supervisor->drain_timer },
		{ on_second_timer, &supervisor->second_timer },
		{ on_ping_timer, &supervisor->ping_timer },
		{ on_log_timer, &supervisor->log_timer },
		{ on_kill_timer, &supervisor->kill_timer },
	};
	int result = sd_event_new(&supervisor->loop);

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals) && result >= 0; i++)
		result = sd_event_add_signal(supervisor->loop, NULL, signals[i], on_signal,
					     supervisor);
	for (size_t i = 0; i < sizeof(timers) / sizeof(*timers) && result >= 0; i++)
		result = add_timer(supervisor, timers[i].handler, timers[i].timer);
	/* Idle: a signal that sd-event has read and not dispatched would be lost by exec(3). */
	if (result >= 0)
		result = sd_event_add_defer(supervisor->loop, &supervisor->handover_source,
					    on_handover, supervisor);
	if (result >= 0)
		result = sd_event_source_set_priority(supervisor->handover_source,
						      SD_EVENT_PRIORITY_IDLE);
	if (result >= 0)
		result = sd_event_source_set_enabled(supervisor->handover_source, SD_EVENT_OFF);
	if (result >= 0)
		result = sd_event_add_post(supervisor->loop, NULL, settle, supervisor);
	if (result < 0) {
		log_errno(LOG_ERR, result, "event loop");
		return result;
	}
	timer_arm(supervisor->second_timer, SECOND_US);
	timer_arm(supervisor->ping_timer, SECOND_US);
	return 0;
}
