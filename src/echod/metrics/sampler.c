/* SPDX-License-Identifier: MIT */
/* One pass over the live entries a second; what is kept of a generation goes with it. */
#include "echod/metrics/sampler.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "echod/state/totals.h"

struct sampler {
	struct sampler_second seconds[SAMPLER_SECONDS];
	unsigned count;			/* filled */
	unsigned next;
	uint64_t accepted;		/* at the last sample */
	uint64_t bytes_in;
	uint64_t live_bytes_in;
	uint64_t live_bytes_out;
	uint64_t taken_ns;		/* 0: never */
};

int sampler_new(struct sampler **ret_sampler)
{
	struct sampler *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	*ret_sampler = made;
	return 0;
}

void sampler_free(struct sampler *sampler)
{
	free(sampler);
}

/* A slot is a worker's to write: a counter that runs backwards is a rate of zero. */
static uint64_t rate(uint64_t now, uint64_t before, uint64_t elapsed_ns)
{
	double a_second;

	if (now <= before || !elapsed_ns)
		return 0;
	/* Rounded: a second is never exactly one. */
	a_second = (double)(now - before) * CLOCK_NS_PER_S / (double)elapsed_ns + 0.5;
	return a_second < (double)SLOT_BYTES_MAX ? (uint64_t)a_second : SLOT_BYTES_MAX;
}

static void sample_connection(struct sampler_connection *connection, const struct entry *entry,
			      const struct slot *slot, uint64_t now_ns, uint64_t elapsed_ns)
{
	uint64_t id = atomic_load(&entry->id);
	uint64_t bytes_in = slot_bytes(&slot->bytes_in);
	uint64_t bytes_out = slot_bytes(&slot->bytes_out);

	if (connection->id != id) {
		uint64_t start_ns = atomic_load(&entry->start_ns);

		*connection = (struct sampler_connection){ .id = id, .moved_ns = start_ns };
		elapsed_ns = now_ns > start_ns ? now_ns - start_ns : 0;
	}
	if (connection->bytes_in != bytes_in || connection->bytes_out != bytes_out)
		connection->moved_ns = now_ns;
	connection->rate_in = rate(bytes_in, connection->bytes_in, elapsed_ns);
	connection->rate_out = rate(bytes_out, connection->bytes_out, elapsed_ns);
	connection->bytes_in = bytes_in;
	connection->bytes_out = bytes_out;
}

static void sample_generation(struct sampler *sampler, struct generation *generation,
			      uint64_t now_ns, uint64_t elapsed_ns)
{
	const struct scoreboard *scoreboard = &generation->scoreboard;
	uint32_t live = generation_live(generation);

	if (!generation->sampled)
		generation->sampled = calloc(scoreboard->slots, sizeof(*generation->sampled));
	if (!generation->sampled)
		return;
	for (uint32_t slot = 0; slot < scoreboard->slots && live; slot++) {
		const struct entry *entry = &scoreboard->table->entries[slot];

		if (atomic_load(&entry->state) != ENTRY_LIVE)
			continue;
		live--;
		sample_connection(&generation->sampled[slot], entry, &scoreboard->slot[slot],
				  now_ns, elapsed_ns);
		sampler->live_bytes_in += generation->sampled[slot].bytes_in;
		sampler->live_bytes_out += generation->sampled[slot].bytes_out;
	}
}

void sampler_take(struct sampler *sampler, const struct supervisor *supervisor)
{
	uint64_t now_ns = clock_now_ns();
	uint64_t elapsed_ns = sampler->taken_ns ? now_ns - sampler->taken_ns : 0;
	uint64_t bytes_in;
	struct tally tally;

	totals_sum(supervisor, &tally);
	sampler->live_bytes_in = sampler->live_bytes_out = 0;
	for (struct generation *i = supervisor->generations; i; i = i->next)
		sample_generation(sampler, i, now_ns, elapsed_ns);
	bytes_in = tally.bytes_in + sampler->live_bytes_in;
	if (elapsed_ns) {
		sampler->seconds[sampler->next] = (struct sampler_second){
			.accepted = rate(tally.accepted, sampler->accepted, elapsed_ns),
			.bytes_in = rate(bytes_in, sampler->bytes_in, elapsed_ns),
		};
		sampler->next = (sampler->next + 1) % SAMPLER_SECONDS;
		if (sampler->count < SAMPLER_SECONDS)
			sampler->count++;
	}
	sampler->accepted = tally.accepted;
	sampler->bytes_in = bytes_in;
	sampler->taken_ns = now_ns;
}

void sampler_live_bytes(const struct sampler *sampler, uint64_t *ret_in, uint64_t *ret_out)
{
	*ret_in = sampler->live_bytes_in;
	*ret_out = sampler->live_bytes_out;
}

unsigned sampler_history(const struct sampler *sampler,
			 struct sampler_second ret_seconds[SAMPLER_SECONDS])
{
	for (unsigned i = 0; i < sampler->count; i++)
		ret_seconds[i] = sampler->seconds[(sampler->next + SAMPLER_SECONDS -
						   sampler->count + i) % SAMPLER_SECONDS];
	return sampler->count;
}

const struct sampler_connection *sampler_find(const struct generation *generation, uint32_t slot,
					      uint64_t id)
{
	if (!generation->sampled || slot >= generation->scoreboard.slots || !id ||
	    generation->sampled[slot].id != id)
		return NULL;
	return &generation->sampled[slot];
}
