/* SPDX-License-Identifier: MIT */
/*
 * Ends connections: single ones for an operator, and all of them at SIGTERM. Those may first end by
 * themselves, are then told to end, and are at last killed.
 */
#include <assert.h>
#include <inttypes.h>
#include <signal.h>

#include "base/clock.h"
#include "echod/control/control.h"
#include "echod/log/log.h"
#include "echod/supervisor/parts.h"
#include "echod/systemd/notify.h"

#define STOP_MARGIN_US (10 * UINT64_C(1000000))	/* the rest, on a loaded machine */
#define ORDER_GRACE_NS (2 * (uint64_t)CLOCK_NS_PER_S)	/* for the orderly end of a worker */
#define HURRY_GRACE_NS ((uint64_t)CLOCK_NS_PER_S / 5)	/* the same after a second signal */
#define KILL_GRACE_NS ((uint64_t)CLOCK_NS_PER_S)	/* for listeners to reap the killed */

static void enter(struct supervisor *supervisor, enum ending phase, uint64_t grace_ns)
{
	supervisor->ending = phase;
	supervisor->ending_deadline_ns = clock_now_ns() + grace_ns;
}

static void drain_begin(struct supervisor *supervisor)
{
	uint64_t drain_us = supervisor->configuration->timeouts.drain_us;
	struct tally tally;

	totals_sum(supervisor, &tally);
	supervisor->reload_wanted = false;
	supervisor->current = supervisor->starting = NULL;	/* no generation accepts any more */
	control_note_stopping(supervisor->control);
	timer_disarm(supervisor->timers[TIMER_START]);
	timer_disarm(supervisor->timers[TIMER_REPLACE]);
	for (struct generation *i = supervisor->generations; i; i = i->next)
		generation_stop(i, STOP_END);
	/* Closes our copies, too: an open socket would take connections that no process serves. */
	supervisor->retired.datagrams_kernel_dropped +=
		sockets_kernel_drops(&supervisor->sockets, NULL);
	sockets_release(&supervisor->sockets, NULL);
	sockets_release(&supervisor->next_sockets, NULL);
	enter(supervisor, ENDING_WAIT, drain_us * 1000);
	log_info("stopping: %" PRIu64 " active", tally_live(&tally));
	status_update(supervisor);
	notify_stopping(supervisor->status, drain_us + STOP_MARGIN_US);
}

static void hurry(struct supervisor *supervisor)
{
	bool is_soon = supervisor->ending_deadline_ns <= clock_now_ns() + HURRY_GRACE_NS;

	/* Repeated signals must not put the end off. */
	if (supervisor->ending == ENDING_KILL || (supervisor->ending == ENDING_ORDER && is_soon))
		return;
	log_notice("stopping at once: ending %" PRIu32, totals_live(supervisor));
	enter(supervisor, ENDING_ORDER, HURRY_GRACE_NS);
}

void drain_go_on(struct supervisor *supervisor)
{
	if (supervisor->ending == ENDING_NONE)
		drain_begin(supervisor);
	else
		hurry(supervisor);
	timer_arm(supervisor->timers[TIMER_DRAIN], 0);
}

/* To be called when the time of a phase is over. */
static void next_phase(struct supervisor *supervisor)
{
	uint32_t live = totals_live(supervisor);

	if (supervisor->ending == ENDING_WAIT) {
		if (live)
			log_notice("the drain time is over: ending %" PRIu32, live);
		enter(supervisor, ENDING_ORDER, ORDER_GRACE_NS);
	} else if (supervisor->ending == ENDING_ORDER) {
		enter(supervisor, ENDING_KILL, KILL_GRACE_NS);
	} else {
		/* A listener that hangs does not reap: kill it, so that its workers become ours. */
		for (struct generation *i = supervisor->generations; i; i = i->next)
			generation_kill_listener(i);
	}
}

void drain_step(struct supervisor *supervisor)
{
	assert(supervisor->ending != ENDING_NONE);
	if (clock_now_ns() >= supervisor->ending_deadline_ns)
		next_phase(supervisor);
	for (struct generation *i = supervisor->generations; i; i = i->next)
		if (supervisor->ending != ENDING_WAIT)
			generation_end_workers(i, SLOT_END_DRAIN,
					       supervisor->ending == ENDING_KILL ? SIGKILL :
										   SIGURG);
	timer_arm(supervisor->timers[TIMER_DRAIN], STATE_KILL_INTERVAL_US);
}

void kill_step(struct supervisor *supervisor)
{
	uint64_t first_ns = UINT64_MAX;

	for (struct generation *i = supervisor->generations; i; i = i->next) {
		uint64_t told_ns = generation_kill_again(i);

		first_ns = told_ns < first_ns ? told_ns : first_ns;
	}
	control_note_killed(supervisor->control, first_ns);
	if (first_ns != UINT64_MAX)
		timer_arm(supervisor->timers[TIMER_KILL], STATE_KILL_INTERVAL_US);
}
