/* SPDX-License-Identifier: MIT */
/* The phases of an end, for all generations of a daemon or the one of --inetd. */
#include "echod/generation/ending.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>

#include "base/clock.h"
#include "echod/log/log.h"

#define ORDER_GRACE_NS (2 * (uint64_t)CLOCK_NS_PER_S)	/* for the orderly end of a worker */
#define HURRY_GRACE_NS ((uint64_t)CLOCK_NS_PER_S / 5)	/* the same after a second signal */
#define KILL_GRACE_NS ((uint64_t)CLOCK_NS_PER_S)	/* for listeners to reap the killed */

static void enter(struct ending *ending, enum ending_phase phase, uint64_t grace_ns)
{
	ending->phase = phase;
	ending->deadline_ns = clock_now_ns() + grace_ns;
}

static uint32_t count_live(const struct generation *generations)
{
	uint32_t live = 0;

	for (const struct generation *i = generations; i; i = i->next)
		live += generation_live(i);
	return live;
}

static void end_workers(struct generation *generations, int signal)
{
	for (struct generation *i = generations; i; i = i->next)
		generation_end_workers(i, SLOT_END_DRAIN, signal);
}

void ending_begin(struct ending *ending, uint64_t drain_us)
{
	assert(ending->phase == ENDING_NONE);
	enter(ending, ENDING_WAIT, drain_us * 1000);
}

void ending_hurry(struct ending *ending, const struct generation *generations)
{
	bool is_soon = ending->deadline_ns <= clock_now_ns() + HURRY_GRACE_NS;

	assert(ending->phase != ENDING_NONE);
	/* Signals that keep coming must not put it off. */
	if (ending->phase == ENDING_KILL || (ending->phase == ENDING_ORDER && is_soon))
		return;
	log_notice("stopping at once: ending %" PRIu32, count_live(generations));
	enter(ending, ENDING_ORDER, HURRY_GRACE_NS);
}

void ending_step(struct ending *ending, struct generation *generations)
{
	bool is_over = clock_now_ns() >= ending->deadline_ns;
	uint32_t live;

	if (ending->phase == ENDING_WAIT && is_over) {
		live = count_live(generations);
		if (live)
			log_notice("the drain time is over: ending %" PRIu32, live);
		enter(ending, ENDING_ORDER, ORDER_GRACE_NS);
		is_over = false;
	}
	if (ending->phase == ENDING_ORDER) {
		end_workers(generations, SIGURG);
		if (!is_over)
			return;
		enter(ending, ENDING_KILL, KILL_GRACE_NS);
		is_over = false;
	}
	if (ending->phase == ENDING_KILL) {
		end_workers(generations, SIGKILL);
		/* A listener that hangs does not reap: then its workers become ours. */
		for (struct generation *i = generations; is_over && i; i = i->next)
			generation_kill_listener(i);
	}
}
