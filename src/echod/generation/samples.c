/* SPDX-License-Identifier: MIT */
/* One pass over the live entries. A slot is a worker's to write: nothing here is believed. */
#include "echod/generation/samples.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"

/* A counter that runs backwards is a rate of zero. */
static uint64_t rate(uint64_t now, uint64_t before, uint64_t elapsed_ns)
{
	double a_second;

	if (now <= before || !elapsed_ns)
		return 0;
	/* Rounded: a second is never exactly one. */
	a_second = (double)(now - before) * CLOCK_NS_PER_S / (double)elapsed_ns + 0.5;
	return a_second < (double)SLOT_BYTES_MAX ? (uint64_t)a_second : SLOT_BYTES_MAX;
}

static void take(struct sample *sample, const struct entry *entry, const struct slot *slot,
		 uint64_t now_ns, uint64_t elapsed_ns)
{
	uint64_t id = atomic_load(&entry->id);
	uint64_t bytes_in = slot_bytes(&slot->bytes_in);
	uint64_t bytes_out = slot_bytes(&slot->bytes_out);

	if (sample->id != id) {
		uint64_t start_ns = atomic_load(&entry->start_ns);

		*sample = (struct sample){ .id = id, .moved_ns = start_ns };
		elapsed_ns = now_ns > start_ns ? now_ns - start_ns : 0;
	}
	if (sample->bytes_in != bytes_in || sample->bytes_out != bytes_out)
		sample->moved_ns = now_ns;
	sample->rate_in = rate(bytes_in, sample->bytes_in, elapsed_ns);
	sample->rate_out = rate(bytes_out, sample->bytes_out, elapsed_ns);
	sample->bytes_in = bytes_in;
	sample->bytes_out = bytes_out;
}

void samples_take(struct samples *samples, const struct scoreboard *scoreboard, uint32_t live,
		  uint64_t now_ns)
{
	assert(now_ns >= samples->taken_ns);
	if (!samples->items)
		samples->items = calloc(scoreboard->slots, sizeof(*samples->items));
	if (!samples->items)
		return;
	for (uint32_t slot = 0; slot < scoreboard->slots && live; slot++) {
		const struct entry *entry = &scoreboard->table->entries[slot];

		if (atomic_load(&entry->state) != ENTRY_LIVE)
			continue;
		live--;
		take(&samples->items[slot], entry, &scoreboard->slot[slot], now_ns,
		     now_ns - samples->taken_ns);
	}
	samples->taken_ns = now_ns;
}

const struct sample *samples_find(const struct samples *samples, uint32_t slot, uint64_t id)
{
	assert(id);
	return samples->items && samples->items[slot].id == id ? &samples->items[slot] : NULL;
}

void samples_release(struct samples *samples)
{
	free(samples->items);
	*samples = (struct samples){0};
}
