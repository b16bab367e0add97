/* SPDX-License-Identifier: MIT */
/* Ending connections: all of them at SIGTERM, one when an operator says so. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "echod/control.h"
#include "echod/log.h"
#include "echod/lookup.h"
#include "echod/service.h"
#include "echod/supervisor_parts.h"

#define STEP_US 100000u
#define END_GRACE_NS (2 * (uint64_t)CLOCK_NS_PER_S)	/* for the orderly end of a worker */
#define HURRY_GRACE_NS ((uint64_t)CLOCK_NS_PER_S / 5)	/* the same after a second signal */
#define STOP_MARGIN_US (10 * UINT64_C(1000000))	/* what follows the drain, on a loaded machine */
#define KILL_GRACE_NS ((uint64_t)CLOCK_NS_PER_S)	/* for listeners to reap the killed */

static void enter(struct supervisor *supervisor, enum drain_phase phase, uint64_t grace_ns)
{
	supervisor->drain = phase;
	supervisor->drain_deadline_ns = clock_now_ns() + grace_ns;
	supervisor_arm(supervisor->drain_timer, 0);
}

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
	enter(supervisor, DRAIN_WAIT, supervisor->configuration->timeouts.drain_us * 1000);
	log_info("stopping: %" PRIu32 " active", live);
	status_format(supervisor, supervisor->status, sizeof(supervisor->status));
	service_stopping(supervisor->status,
			 supervisor->configuration->timeouts.drain_us + STOP_MARGIN_US);
}

void supervisor_drain(struct supervisor *supervisor)
{
	if (supervisor->drain == DRAIN_NONE) {
		drain_begin(supervisor);
	} else if (supervisor->drain != DRAIN_KILL) {
		log_notice("stopping at once: ending %" PRIu32,
			   supervisor_live(supervisor));
		enter(supervisor, DRAIN_END, HURRY_GRACE_NS);
	}
}

static void end_workers(struct supervisor *supervisor, int signal)
{
	for (struct generation *i = supervisor->generations; i; i = i->next)
		generation_end_workers(i, SLOT_END_DRAIN, signal);
}

void drain_step(struct supervisor *supervisor)
{
	bool is_over = clock_now_ns() >= supervisor->drain_deadline_ns;

	switch (supervisor->drain) {
	case DRAIN_NONE:
		return;
	case DRAIN_WAIT:
		if (!is_over)
			break;
		if (supervisor_live(supervisor))
			log_notice("the drain time is over: ending %" PRIu32,
				   supervisor_live(supervisor));
		enter(supervisor, DRAIN_END, END_GRACE_NS);
		return;
	case DRAIN_END:
		end_workers(supervisor, SIGURG);
		if (is_over) {
			enter(supervisor, DRAIN_KILL, KILL_GRACE_NS);
			return;
		}
		break;
	case DRAIN_KILL:
		end_workers(supervisor, SIGKILL);
		/* A listener that hangs does not reap: then its workers become ours. */
		if (is_over)
			for (struct generation *i = supervisor->generations; i; i = i->next)
				generation_kill_listener(i);
		break;
	}
	supervisor_arm(supervisor->drain_timer, STEP_US);
}

/* A timer that runs stays as it is: orders that come faster than it would put it off. */
static void arm_kill(struct supervisor *supervisor)
{
	if (sd_event_source_get_enabled(supervisor->kill_timer, NULL) == SD_EVENT_OFF)
		supervisor_arm(supervisor->kill_timer, STEP_US);
}

int supervisor_kill(struct supervisor *supervisor, uint64_t number, uint64_t id)
{
	int result = -ESRCH;

	for (struct generation *i = supervisor->generations; i && result; i = i->next)
		if (i->number == number)
			result = generation_kill_connection(i, id);
	if (result == 0)
		arm_kill(supervisor);
	return result;
}

int supervisor_kill_slot(struct supervisor *supervisor, struct generation *generation,
			 uint32_t slot, uint64_t id)
{
	int result = generation_kill_slot(generation, slot, id);

	if (result == 0)
		arm_kill(supervisor);
	return result;
}

void kill_step(struct supervisor *supervisor)
{
	unsigned count = 0;

	for (struct generation *i = supervisor->generations; i; i = i->next)
		count += generation_kill_again(i);
	if (count)
		supervisor_arm(supervisor->kill_timer, STEP_US);
}
