/* SPDX-License-Identifier: MIT */
/* Ending connections: all of them at SIGTERM, one when an operator says so. */
#include <errno.h>
#include <inttypes.h>

#include "echod/control/control.h"
#include "echod/log/log.h"
#include "echod/sockets/lookup.h"
#include "echod/supervisor/parts.h"
#include "echod/systemd/notify.h"

#define STOP_MARGIN_US (10 * UINT64_C(1000000))	/* what follows the drain, on a loaded machine */

static void drain_begin(struct supervisor *supervisor)
{
	uint32_t live = supervisor_live(supervisor);

	supervisor->reload_wanted = false;
	supervisor->starting = NULL;
	supervisor->lookup = lookup_free(supervisor->lookup);
	control_note_stopping(supervisor->control);
	supervisor_disarm(supervisor->start_timer);
	supervisor_disarm(supervisor->replace_timer);
	supervisor_disarm(supervisor->ping_timer);
	for (struct generation *i = supervisor->generations; i; i = i->next)
		generation_stop(i);
	/* Our copies too: a socket that stays open would take connections that nobody serves. */
	sockets_release(&supervisor->sockets, true);
	sockets_release(&supervisor->next_sockets, true);
	ending_begin(&supervisor->ending, supervisor->configuration->timeouts.drain_us);
	log_info("stopping: %" PRIu32 " active", live);
	status_format(supervisor, supervisor->status, sizeof(supervisor->status));
	service_stopping(supervisor->status,
			 supervisor->configuration->timeouts.drain_us + STOP_MARGIN_US);
}

void supervisor_drain(struct supervisor *supervisor)
{
	if (supervisor->ending.phase == ENDING_NONE)
		drain_begin(supervisor);
	else
		ending_hurry(&supervisor->ending, supervisor->generations);
	supervisor_arm(supervisor->drain_timer, 0);
}

void drain_step(struct supervisor *supervisor)
{
	ending_step(&supervisor->ending, supervisor->generations);
	supervisor_arm(supervisor->drain_timer, ENDING_STEP_US);
}

int supervisor_kill(struct supervisor *supervisor, uint64_t number, uint64_t id)
{
	int result = -ESRCH;

	for (struct generation *i = supervisor->generations; i && result; i = i->next)
		if (i->number == number)
			result = generation_kill_connection(i, id);
	if (result == 0)
		supervisor_arm_idle(supervisor->kill_timer, ENDING_STEP_US);
	return result;
}

int supervisor_kill_slot(struct supervisor *supervisor, struct generation *generation,
			 uint32_t slot, uint64_t id)
{
	int result = generation_kill_slot(generation, slot, id);

	if (result == 0)
		supervisor_arm_idle(supervisor->kill_timer, ENDING_STEP_US);
	return result;
}

void kill_step(struct supervisor *supervisor)
{
	unsigned count = 0;

	for (struct generation *i = supervisor->generations; i; i = i->next)
		count += generation_kill_again(i);
	if (count)
		supervisor_arm(supervisor->kill_timer, ENDING_STEP_US);
}
