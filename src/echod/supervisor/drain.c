/* SPDX-License-Identifier: MIT */
/* Ending connections: all of them at SIGTERM, one when an operator says so. */
#include <assert.h>
#include <inttypes.h>

#include "echod/control/control.h"
#include "echod/log/log.h"
#include "echod/state/timer.h"
#include "echod/state/totals.h"
#include "echod/supervisor/parts.h"
#include "echod/systemd/notify.h"

#define STOP_MARGIN_US (10 * UINT64_C(1000000))	/* what follows the drain, on a loaded machine */

static void drain_begin(struct supervisor *supervisor)
{
	struct tally tally;

	totals_sum(supervisor, &tally);
	supervisor->reload_wanted = false;
	supervisor->current = supervisor->starting = NULL;	/* nobody accepts any more */
	control_note_stopping(supervisor->control);
	timer_disarm(supervisor->timers[TIMER_START]);
	timer_disarm(supervisor->timers[TIMER_REPLACE]);
	for (struct generation *i = supervisor->generations; i; i = i->next)
		generation_stop(i, STOP_END);
	/* Our copies too: a socket that stays open would take connections that nobody serves. */
	sockets_release(&supervisor->sockets, NULL);
	sockets_release(&supervisor->next_sockets, NULL);
	ending_begin(&supervisor->ending, supervisor->configuration->timeouts.drain_us);
	log_info("stopping: %" PRIu64 " active", tally_live(&tally));
	status_format(supervisor, supervisor->status, sizeof(supervisor->status));
	notify_stopping(supervisor->status,
			supervisor->configuration->timeouts.drain_us + STOP_MARGIN_US);
}

void drain_go_on(struct supervisor *supervisor)
{
	if (supervisor->ending.phase == ENDING_NONE)
		drain_begin(supervisor);
	else
		ending_hurry(&supervisor->ending, supervisor->generations);
	timer_arm(supervisor->timers[TIMER_DRAIN], 0);
}

void drain_step(struct supervisor *supervisor)
{
	assert(supervisor->ending.phase != ENDING_NONE);
	ending_step(&supervisor->ending, supervisor->generations);
	timer_arm(supervisor->timers[TIMER_DRAIN], ENDING_STEP_US);
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
		timer_arm(supervisor->timers[TIMER_KILL], ENDING_STEP_US);
}
