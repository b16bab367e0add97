/* SPDX-License-Identifier: MIT */
/* Connections of other generations, counted by source with the prefixes of the one that asks. */
#include "echod/foreign.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cidr.h"

static int by_key(const void *a, const void *b)
{
	return foreign_compare(((const struct foreign_count *)a)->key,
			       ((const struct foreign_count *)b)->key);
}

static int largest_first(const void *a, const void *b)
{
	uint32_t x = ((const struct foreign_count *)a)->live;
	uint32_t y = ((const struct foreign_count *)b)->live;

	return x == y ? by_key(a, b) : x < y ? 1 : -1;
}

/* Sorted by key; returns how many are left. */
static size_t merge(struct foreign_count *counts, size_t count)
{
	size_t used = 0;

	for (size_t i = 0; i < count; i++) {
		if (used && by_key(&counts[used - 1], &counts[i]) == 0)
			counts[used - 1].live += counts[i].live;
		else
			counts[used++] = counts[i];
	}
	return used;
}

void foreign_publish(struct foreign *foreign, struct foreign_count *counts, size_t count)
{
	uint32_t next = !atomic_load_explicit(&foreign->valid, memory_order_relaxed);
	struct foreign_half *half = &foreign->halves[next];

	if (count)
		qsort(counts, count, sizeof(*counts), by_key);
	count = merge(counts, count);
	if (count > FOREIGN_SOURCES) {
		qsort(counts, count, sizeof(*counts), largest_first);
		count = FOREIGN_SOURCES;
		qsort(counts, count, sizeof(*counts), by_key);
	}
	for (size_t i = 0; i < count; i++) {
		struct foreign_source *source = &half->sources[i];

		atomic_store_explicit(&source->key[0], counts[i].key[0], memory_order_relaxed);
		atomic_store_explicit(&source->key[1], counts[i].key[1], memory_order_relaxed);
		atomic_store_explicit(&source->live, counts[i].live, memory_order_relaxed);
	}
	atomic_store_explicit(&half->count, (uint32_t)count, memory_order_relaxed);
	atomic_store_explicit(&foreign->valid, next, memory_order_release);
}

/* Returns how many there are now, at most room. */
static size_t collect(const struct generation *reader, const struct generation *other,
		      struct foreign_count *counts, size_t count, size_t room)
{
	const struct scoreboard *scoreboard = &other->scoreboard;
	uint8_t address[16];

	for (uint32_t slot = 0; slot < scoreboard->slots && count < room; slot++) {
		if (!scoreboard_peer(scoreboard, slot, address))
			continue;
		cidr_source(address, reader->source.prefix_ipv4, reader->source.prefix_ipv6);
		foreign_key(address, counts[count].key);
		counts[count++].live = 1;
	}
	return count;
}

static int share_with(const struct supervisor *supervisor, struct generation *reader)
{
	size_t room = supervisor_foreign_live(supervisor, reader);
	struct foreign_count *counts = calloc(room ? room : 1, sizeof(*counts));
	size_t count = 0;

	if (!counts)
		return -ENOMEM;
	for (const struct generation *i = supervisor->generations; i; i = i->next)
		if (i != reader)
			count = collect(reader, i, counts, count, room);
	foreign_publish(&reader->scoreboard.table->foreign, counts, count);
	free(counts);
	return 0;
}

int foreign_share(const struct supervisor *supervisor)
{
	int result = 0;

	for (struct generation *i = supervisor->generations; i; i = i->next)
		if (generation_accepts(i) && i->source.connections && result == 0)
			result = share_with(supervisor, i);
	return result;
}
