/* SPDX-License-Identifier: MIT */
/* The event loop: handlers only note what happened, settle() decides what to do. */
#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "echod/control/control.h"
#include "echod/handover/handover.h"
#include "echod/log/log.h"
#include "echod/supervisor/parts.h"
#include "echod/systemd/notify.h"

#define RING_INTERVAL_US 20000u		/* between two looks into busy rings */
#define LOG_INTERVAL_US 100000u		/* between two tries to write lines that wait for a sink */
#define SECOND_US UINT64_C(1000000)
#define PING_DEADLINE_US (30 * SECOND_US)	/* a listener that is silent for so long hangs */
#define PINGS 4u			/* in that time */

/* Each listener counts the live connections of all the others against its own limit. */
static void share_live(struct supervisor *supervisor)
{
	for (struct generation *i = supervisor->generations; i; i = i->next)
		if (i->state <= GENERATION_SERVING)
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
		timer_arm(supervisor->timers[TIMER_RING], RING_INTERVAL_US);
}

static void on_ready(void *context, struct generation *generation)
{
	struct supervisor *supervisor = context;

	/* The others went on accepting while this one started, which made no event. */
	share_live(supervisor);
	if (generation == supervisor->starting)
		turnover_ready(supervisor);
}

static void on_wake(void *context, struct generation *generation)
{
	struct supervisor *supervisor = context;

	(void)generation;
	timer_arm(supervisor->timers[TIMER_RING], 0);
}

static void log_end(const char *what, pid_t pid, int status)
{
	if (WIFSIGNALED(status))
		log_error("%s %d was killed by signal %d (%s)%s", what, pid, WTERMSIG(status),
			  strsignal(WTERMSIG(status)),
			  WTERMSIG(status) == SIGSYS ? ": a forbidden system call" : "");
	else
		log_error("%s %d exited with status %d", what, pid, WEXITSTATUS(status));
}

static void on_event(void *context, struct generation *generation, const struct event *event)
{
	struct supervisor *supervisor = context;
	char path[UNIX_PATH_BYTES];

	if (event->type == EVENT_DATAGRAMS_ENDED) {
		if (event->count > 0)
			log_error("datagram process %d hangs, it is killed", event->pid);
		else
			log_end("datagram process", event->pid, event->status);
		return;
	}
	/* With its one connection the listener of --inetd is always at its limit. */
	if (event->type != EVENT_LIMIT || supervisor->mode != MODE_SINGLE)
		report_event(&supervisor->report, event,
			     generation_unix_path(generation, event->socket, path), clock_now_ns());
}

static void log_listener_end(const struct generation *generation, pid_t pid, int status)
{
	if (status || !generation->stopped)
		log_end("listener", pid, status);
	else
		log_debug("listener %d of generation %llu has finished", pid,
			  (unsigned long long)generation->number);
	if (generation_live(generation))
		log_notice("listener %d left its connections behind, they go on: %u", pid,
			   generation_live(generation));
}

static void listener_gone(struct supervisor *supervisor, struct generation *generation, int status)
{
	pid_t pid = generation->listener_pid;

	/* Its last messages and events come before its end is handled. */
	generation_listener_gone(generation, status);
	log_listener_end(generation, pid, status);
	if (supervisor->starting == generation)
		turnover_abandon(supervisor);
	if (supervisor->current == generation) {
		supervisor->current = NULL;
		supervisor->listener_restarts++;
		start_schedule_replacement(
			supervisor, (clock_now_ns() - generation->started_ns) / 1000000);
	}
}

/* True if pid was a listener, or an orphan of one. */
static bool account(struct supervisor *supervisor, pid_t pid, int status,
		    const struct rusage *usage)
{
	for (struct generation *i = supervisor->generations; i; i = i->next) {
		if (i->listener_pid == pid)
			listener_gone(supervisor, i, status);
		else if (!generation_reap(i, pid, status, usage))
			continue;
		return true;
	}
	return false;
}

static bool account_stranger(struct supervisor *supervisor, int status)
{
	for (struct generation *i = supervisor->generations; i; i = i->next)
		if (generation_reap_stranger(i, status))
			return true;
	return false;
}

/* An unknown child may be the orphan of a listener that we have not reaped yet. */
static void look_for_dead_listeners(struct supervisor *supervisor)
{
	for (struct generation *i = supervisor->generations; i; i = i->next) {
		int status;

		if (i->listener_pid && waitpid(i->listener_pid, &status, WNOHANG) > 0)
			listener_gone(supervisor, i, status);
	}
}

void reap_children(struct supervisor *supervisor)
{
	struct rusage usage;
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
		if (account(supervisor, pid, status, &usage))
			continue;
		look_for_dead_listeners(supervisor);
		if (!account(supervisor, pid, status, &usage) &&
		    !account_stranger(supervisor, status))
			log_debug("child %d ended that no generation knows", pid);
	}
}

static void retire_generations(struct supervisor *supervisor)
{
	for (struct generation **link = &supervisor->generations; *link;) {
		struct generation *generation = *link;

		if (!generation_is_gone(generation)) {
			link = &generation->next;
			continue;
		}
		assert(generation != supervisor->current && generation != supervisor->starting);
		*link = generation->next;
		generation_report_datagrams(generation, true, clock_now_ns());
		log_debug("generation %" PRIu64 " is gone", generation->number);
		generation_add_tally(generation, &supervisor->retired);
		/* Workers of a stranger whose end was not seen. */
		supervisor->retired.closed[END_ERROR] += generation->orphans.live;
		generation_free(generation);
	}
}

/* Does what clients asked for; a reload waits for its turn. */
static void grant_wishes(struct supervisor *supervisor)
{
	if (supervisor->drain_wanted && supervisor->ending == ENDING_NONE)
		drain_go_on(supervisor);
	if (supervisor->kill_wanted)
		timer_arm_idle(supervisor->timers[TIMER_KILL], STATE_KILL_INTERVAL_US);
	supervisor->drain_wanted = supervisor->kill_wanted = false;
}

/* Runs after every event and decides on the next step. */
static int settle(sd_event_source *source, void *context)
{
	struct supervisor *supervisor = context;

	(void)source;
	grant_wishes(supervisor);
	retire_generations(supervisor);
	if (supervisor->ending != ENDING_NONE || supervisor->mode == MODE_SINGLE) {
		if (!supervisor->generations) {
			control_note_drained(supervisor->control);
			sd_event_exit(supervisor->loop, 0);
		}
	} else if (supervisor->reload_wanted && supervisor->is_ready && !supervisor->starting) {
		reload_begin(supervisor);
	} else if (supervisor->is_ready && !supervisor->current) {
		start_schedule_replacement(supervisor, 0);
	}
	if (!log_flush())
		timer_arm(supervisor->timers[TIMER_LOG], LOG_INTERVAL_US);
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

/*
 * Kills a listener that hangs. If it accepts, another one replaces it; its workers become ours, so
 * that their ends are seen. A service manager with a watchdog judges the current listener itself.
 * Counts pings and not time, because time goes on while we are stopped and send none.
 */
static void judge(struct supervisor *supervisor, struct generation *generation)
{
	bool is_current = generation == supervisor->current;

	if (is_current && supervisor->watchdog_us && !generation->unanswered)
		notify_alive();
	if (generation->unanswered < PINGS || (is_current && supervisor->watchdog_us)) {
		generation->unanswered++;
		generation_ping(generation);
		return;
	}
	log_error("listener %d does not answer, it is %s", generation->listener_pid,
		  is_current ? "replaced" : "ended, its connections go on");
	generation_kill_listener(generation);
}

static void watchdog_ping(struct supervisor *supervisor)
{
	for (struct generation *i = supervisor->generations; i; i = i->next)
		if (i->listener_pid && i->state != GENERATION_STARTING &&
		    !generation_is_stranger(i))
			judge(supervisor, i);
	timer_arm(supervisor->timers[TIMER_PING], supervisor->watchdog_us ?
			supervisor->watchdog_us / PINGS : PING_DEADLINE_US / PINGS);
}

static void start_overdue(struct supervisor *supervisor)
{
	log_error("a listener was not ready within %" PRIu64 " s", START_DEADLINE_US / SECOND_US);
	turnover_abandon(supervisor);
}

/* Logs that a ring was full: the counters are right, but lines are missing. */
static void tell_dropped(struct supervisor *supervisor)
{
	struct tally tally;

	totals_sum(supervisor, &tally);
	if (tally.events_dropped > supervisor->events_dropped)
		log_warning("%" PRIu64 " events found no room in the ring and are not logged",
			    tally.events_dropped - supervisor->events_dropped);
	supervisor->events_dropped = tally.events_dropped;
}

static void each_second(struct supervisor *supervisor)
{
	uint64_t now_ns = clock_now_ns();

	for (struct generation *i = supervisor->generations; i; i = i->next)
		generation_report_datagrams(i, false, now_ns);
	/* Older ones take connections until they are told to stop, which makes no event. */
	share_live(supervisor);
	if (supervisor->mode != MODE_SINGLE) {
		for (struct generation *i = supervisor->generations; i; i = i->next)
			scoreboard_note(&i->scoreboard, generation_live(i), now_ns);
		status_write_metrics(supervisor, now_ns);
	}
	if (supervisor->is_ready && status_update(supervisor))
		notify_status(supervisor->status);
	notify_flush();
	tell_dropped(supervisor);
	if (supervisor->flush_ns <= now_ns)
		supervisor->flush_ns = report_flush(&supervisor->report, now_ns);
	timer_arm(supervisor->timers[TIMER_SECOND], SECOND_US);
}

static void hand_over(struct supervisor *supervisor)
{
	/*
	 * TERM may have come since. If handover_execute() returns, this program stays and settle()
	 * reloads.
	 */
	if (supervisor->ending == ENDING_NONE)
		supervisor->handover_failed = handover_execute(supervisor) < 0;
}

/* NULL: only wakes the loop; settle() does the rest. */
static void (*const timer_actions[TIMER_COUNT])(struct supervisor *supervisor) = {
	[TIMER_RING] = read_rings,
	[TIMER_START] = start_overdue,
	[TIMER_REPLACE] = start_replacement,
	[TIMER_DRAIN] = drain_step,
	[TIMER_KILL] = kill_step,
	[TIMER_SECOND] = each_second,
	[TIMER_PING] = watchdog_ping,
	[TIMER_LOG] = NULL,
	[TIMER_HANDOVER] = hand_over,
};

static int on_timer(sd_event_source *source, uint64_t now_us, void *context)
{
	struct supervisor *supervisor = context;

	(void)now_us;
	for (size_t i = 0; i < TIMER_COUNT; i++)
		if (supervisor->timers[i] == source && timer_actions[i])
			timer_actions[i](supervisor);
	return 0;
}

static int add_sources(struct supervisor *supervisor)
{
	const int signals[] = { SIGCHLD, SIGHUP, SIGUSR1, SIGTERM, SIGINT };
	int r = 0;

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals) && r >= 0; i++)
		r = sd_event_add_signal(supervisor->loop, NULL, signals[i], on_signal, supervisor);
	for (size_t i = 0; i < TIMER_COUNT && r >= 0; i++) {
		r = sd_event_add_time_relative(supervisor->loop, &supervisor->timers[i],
					       CLOCK_MONOTONIC, 0, 1000, on_timer, supervisor);
		if (r >= 0)
			r = sd_event_source_set_enabled(supervisor->timers[i], SD_EVENT_OFF);
	}
	/* A signal that sd-event has read and not dispatched would be lost by exec(3). */
	if (r >= 0)
		r = sd_event_source_set_priority(supervisor->timers[TIMER_HANDOVER],
						 SD_EVENT_PRIORITY_IDLE);
	/*
	 * A rate-limited source needs a timer of this clock when it fires too often. Newer versions
	 * of systemd make it only then, and the loop would end if no descriptor is free.
	 */
	if (r >= 0)
		r = sd_event_add_time(supervisor->loop, NULL, CLOCK_BOOTTIME, UINT64_MAX, 0,
				      on_timer, supervisor);
	if (r >= 0)
		r = sd_event_add_post(supervisor->loop, NULL, settle, supervisor);
	return r;
}

int loop_create(struct supervisor *supervisor)
{
	int r = sd_event_new(&supervisor->loop);

	if (r >= 0)
		r = add_sources(supervisor);
	if (r < 0)
		return log_errno(LOG_ERR, r, "event loop");
	supervisor->hooks = (struct generation_hooks){ on_ready, on_wake, on_event, supervisor };
	timer_arm(supervisor->timers[TIMER_SECOND], SECOND_US);
	timer_arm(supervisor->timers[TIMER_PING], SECOND_US);
	return 0;
}
