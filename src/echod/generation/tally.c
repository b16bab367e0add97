/* SPDX-License-Identifier: MIT */
/* Sums of counters. */
#include "echod/generation/tally.h"

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_acquire);
}

void tally_add_totals(struct tally *tally, const struct totals *totals)
{
#define ONE(name) tally->name += load(&totals->name);
#define MANY(name, count) \
	for (size_t i = 0; i < (count); i++) \
		tally->name[i] += load(&totals->name[i]);
	TALLY_FIELDS(ONE, MANY)
#undef ONE
#undef MANY
}

void tally_add(struct tally *tally, const struct tally *more)
{
#define ONE(name) tally->name += more->name;
#define MANY(name, count) \
	for (size_t i = 0; i < (count); i++) \
		tally->name[i] += more->name[i];
	TALLY_FIELDS(ONE, MANY)
#undef ONE
#undef MANY
}

void tally_add_closed(struct tally *tally, const struct event *event)
{
	uint64_t us = event_duration_us(event);

	tally->duration_histogram[histogram_bucket(us / 1000, DURATION_BUCKETS)]++;
	tally->duration_sum_us += us;
	tally->closed[event->reason < END_COUNT ? event->reason : END_ERROR]++;
	tally->bytes_in += event->bytes_in;
	tally->bytes_out += event->bytes_out;
	tally->empty += !event->bytes_in && !event->count;
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

uint64_t tally_live(const struct tally *tally)
{
	uint64_t ended = tally_closed(tally) + tally_refused(tally);

	return tally->accepted > ended ? tally->accepted - ended : 0;
}
