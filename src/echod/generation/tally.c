/* SPDX-License-Identifier: MIT */
/* Sums of counters. */
#include "echod/generation/tally.h"

/* more has plain or atomic counters. */
#define ADD_ONE(name) tally->name += more->name;
#define ADD_MANY(name, count) \
	for (size_t i = 0; i < (count); i++) \
		tally->name[i] += more->name[i];

void tally_add_totals(struct tally *tally, const struct totals *more)
{
	TALLY_FIELDS(ADD_ONE, ADD_MANY)
}

void tally_add_datagrams(struct tally *tally, const struct datagrams *more)
{
	const uint64_t starts = more->starts;

	tally->datagram_restarts += starts > 0 ? starts - 1 : 0;
	for (size_t i = 0; i < SETTINGS_MAX_SOCKETS; i++) {
		const struct datagram_counters *socket = &more->sockets[i];

		tally->datagrams_received += socket->received;
		tally->datagrams_sent += socket->sent;
		tally->datagram_bytes_in += socket->bytes_in;
		tally->datagram_bytes_out += socket->bytes_out;
		for (size_t j = 0; j < DROP_COUNT; j++)
			tally->datagrams_dropped[j] += socket->dropped[j];
		tally->datagrams_unmerged += socket->unmerged;
	}
}

void tally_add(struct tally *tally, const struct tally *more)
{
	TALLY_FIELDS(ADD_ONE, ADD_MANY)
	TALLY_DATAGRAM_FIELDS(ADD_ONE, ADD_MANY)
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

static uint64_t sum(const uint64_t *counters, size_t count)
{
	uint64_t all = 0;

	for (size_t i = 0; i < count; i++)
		all += counters[i];
	return all;
}

uint64_t tally_closed(const struct tally *tally)
{
	return sum(tally->closed, END_COUNT);
}

uint64_t tally_refused(const struct tally *tally)
{
	return sum(tally->refused, REFUSE_COUNT);
}

uint64_t tally_live(const struct tally *tally)
{
	uint64_t ended = tally_closed(tally) + tally_refused(tally);

	return tally->accepted > ended ? tally->accepted - ended : 0;
}
