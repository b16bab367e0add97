/* SPDX-License-Identifier: MIT */
/* Connections of other generations, counted by source with the prefixes of the one that asks. */
#include "echod/supervisor/share.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cidr.h"
#include "echod/state/totals.h"

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
static size_t merge(struct foreign_count *items, size_t count)
{
	size_t used = 0;

	for (size_t i = 0; i < count; i++) {
		if (used && by_key(&items[used - 1], &items[i]) == 0)
			items[used - 1].live += items[i].live;
		else
			items[used++] = items[i];
	}
	return used;
}

void foreign_publish(struct foreign *foreign, const struct foreign_counts *counts)
{
	struct foreign_count *items = counts->items;
	size_t count = counts->count;
	uint32_t next = !atomic_load_explicit(&foreign->valid, memory_order_relaxed);
	struct foreign_half *half = &foreign->halves[next];

	if (count)
		qsort(items, count, sizeof(*items), by_key);
	count = merge(items, count);
	if (count > FOREIGN_SOURCES) {
		qsort(items, count, sizeof(*items), largest_first);
		count = FOREIGN_SOURCES;
		qsort(items, count, sizeof(*items), by_key);
	}
	for (size_t i = 0; i < count; i++) {
		struct foreign_source *source = &half->sources[i];

		atomic_store_explicit(&source->key[0], items[i].key[0], memory_order_relaxed);
		atomic_store_explicit(&source->key[1], items[i].key[1], memory_order_relaxed);
		atomic_store_explicit(&source->live, items[i].live, memory_order_relaxed);
	}
	atomic_store_explicit(&half->count, (uint32_t)count, memory_order_relaxed);
	atomic_store_explicit(&foreign->valid, next, memory_order_release);
}

/* No further than its last live one: a table may be large and nearly empty. */
static void collect(const struct generation *other, const struct source_limit *limit,
		    struct foreign_counts *counts, size_t room)
{
	const struct scoreboard *scoreboard = &other->scoreboard;
	uint32_t live = generation_live(other);
	uint8_t address[16];

	for (uint32_t slot = 0; slot < scoreboard->slots && live && counts->count < room; slot++) {
		if (atomic_load(&scoreboard->table->entries[slot].state) != ENTRY_LIVE)
			continue;
		live--;
		if (!scoreboard_peer(scoreboard, slot, address))
			continue;
		cidr_source(address, limit->prefix_ipv4, limit->prefix_ipv6);
		foreign_key(address, counts->items[counts->count].key);
		counts->items[counts->count++].live = 1;
	}
}

int foreign_count(const struct supervisor *supervisor, const struct generation *reader,
		  const struct source_limit *limit, struct foreign_counts *ret_counts)
{
	size_t room = limit->connections ? totals_foreign_live(supervisor, reader) : 0;
	struct foreign_counts made = { .items = calloc(room + 1, sizeof(*made.items)) };

	if (!made.items)
		return -ENOMEM;
	for (const struct generation *i = supervisor->generations; i; i = i->next)
		if (i != reader)
			collect(i, limit, &made, room);
	*ret_counts = made;
	return 0;
}

int foreign_share(const struct supervisor *supervisor)
{
	int result = 0;

	for (struct generation *i = supervisor->generations; i && result == 0; i = i->next) {
		struct foreign_counts counts;

		if (!generation_accepts(i))
			continue;
		result = foreign_count(supervisor, i, &i->source, &counts);
		if (result < 0)
			continue;
		foreign_publish(&i->scoreboard.table->foreign, &counts);
		free(counts.items);
	}
	return result;
}
