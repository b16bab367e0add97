/* SPDX-License-Identifier: MIT */
/* Pings to the listeners: answers of the current one feed the watchdog, silence ends a listener. */
#include "echod/log/log.h"
#include "echod/state/timer.h"
#include "echod/supervisor/parts.h"
#include "echod/systemd/notify.h"

#define PING_DEADLINE_US (30 * UINT64_C(1000000)) /* a listener that is silent so long hangs */
#define PINGS 4u		/* in that time */

/*
 * A listener that hangs is killed: another takes the place of one that accepts, and the workers of
 * any are ours then, so that their ends are seen. A service manager with a watchdog judges the
 * current one for itself. Pings are counted and no time: that goes on while we are stopped and ask
 * nothing.
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

void watchdog_ping(struct supervisor *supervisor)
{
	for (struct generation *i = supervisor->generations; i; i = i->next)
		if (i->listener_pid && i->state != GENERATION_STARTING &&
		    !generation_is_stranger(i))
			judge(supervisor, i);
	timer_arm(supervisor->timers[TIMER_PING], supervisor->watchdog_us ?
			supervisor->watchdog_us / PINGS : PING_DEADLINE_US / PINGS);
}
