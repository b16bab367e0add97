/* SPDX-License-Identifier: MIT */
/* Sums of counters. */
#include "echod/generation/tally.h"

#include <stddef.h>

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void tally_add_totals(struct tally *tally, const struct totals *totals)
{
	tally->accepted += load(&totals->accepted);
	for (size_t i = 0; i < END_COUNT; i++)
		tally->closed[i] += load(&totals->closed[i]);
	for (size_t i = 0; i < REFUSE_COUNT; i++)
		tally->refused[i] += load(&totals->refused[i]);
	tally->bytes_in += load(&totals->bytes_in);
	tally->bytes_out += load(&totals->bytes_out);
	tally->empty += load(&totals->empty);
	tally->events_dropped += load(&totals->events_dropped);
	tally->starved += load(&totals->starved);
	for (size_t i = 0; i < FORK_BUCKETS; i++)
		tally->fork_histogram[i] += load(&totals->fork_histogram[i]);
	tally->fork_sum_us += load(&totals->fork_sum_us);
}

void tally_add(struct tally *tally, const struct tally *more)
{
	static_assert(sizeof(struct tally) % sizeof(uint64_t) == 0, "nothing but counters");
	uint64_t *to = (uint64_t *)tally;
	const uint64_t *from = (const uint64_t *)more;

	for (size_t i = 0; i < sizeof(struct tally) / sizeof(uint64_t); i++)
		to[i] += from[i];
}

void tally_add_duration(struct tally *tally, const struct event *event)
{
	uint64_t ns = event->end_ns > event->start_ns ? event->end_ns - event->start_ns : 0;
	uint64_t us = ns / 1000;
	uint64_t ms = us / 1000;
	unsigned bucket = ms ? 64 - (unsigned)__builtin_clzll(ms) : 0;

	if (bucket >= DURATION_BUCKETS)
		bucket = DURATION_BUCKETS - 1;
	tally->duration_histogram[bucket]++;
	tally->duration_sum_us += us;
}

void tally_add_closed(struct tally *tally, const struct event *event)
{
	tally->closed[event->reason < END_COUNT ? event->reason : END_ERROR]++;
	tally->bytes_in += event->bytes_in;
	tally->bytes_out += event->bytes_out;
	tally->empty += !event->bytes_in;
}

uint64_t tally_closed(const struct tally *tally)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < END_COUNT; i++)
		sum += tally->closed[i];
	return sum;
}

uint64_t tally_refused(const struct tally *tally)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < REFUSE_COUNT; i++)
		sum += tally->refused[i];
	return sum;
}
