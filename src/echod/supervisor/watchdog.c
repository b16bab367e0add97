/* SPDX-License-Identifier: MIT */
/* Pings to the current listener: their answers feed the watchdog, silence replaces the listener. */
#include "echod/log/log.h"
#include "echod/state/timer.h"
#include "echod/supervisor/parts.h"
#include "echod/systemd/notify.h"

#define PING_DEADLINE_US (30 * UINT64_C(1000000)) /* a listener that is silent so long hangs */
#define PINGS 4u		/* in that time */

void watchdog_pong(struct supervisor *supervisor, const struct generation *generation,
		   uint32_t value)
{
	if (generation != supervisor->current || !value)
		return;
	supervisor->unanswered = 0;
	if (supervisor->watchdog_us)
		notify_alive();
}

/*
 * A service manager with a watchdog judges for itself; without one a hung listener is replaced. Not
 * by the clock, which goes on while we are stopped and ask nothing.
 */
void watchdog_ping(struct supervisor *supervisor)
{
	if (supervisor->current && !supervisor->watchdog_us && supervisor->unanswered == PINGS) {
		log_error("listener %d does not answer, it is replaced",
			  supervisor->current->listener_pid);
		generation_kill_listener(supervisor->current);
	} else if (supervisor->current) {
		supervisor->unanswered++;
		generation_ping(supervisor->current, ++supervisor->ping);
	}
	timer_arm(supervisor->timers[TIMER_PING], supervisor->watchdog_us ?
			supervisor->watchdog_us / PINGS : PING_DEADLINE_US / PINGS);
}
