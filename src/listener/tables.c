/* SPDX-License-Identifier: MIT */
/*
 * Chained hashes over arrays of their largest size. A link is an index and 0 means none, so
 * untouched memory is an empty table.
 */
#include "listener/tables.h"

#include <assert.h>
#include <string.h>

#include "base/cidr.h"
#include "base/sys.h"

void *tables_memory(size_t size)
{
	void *memory = sys_memory(size);

	if (memory)
		(void)sys_madvise(memory, size, MADV_DONTFORK);
	return memory;
}

/* Makes as many chains as there may be entries, rounded up to a power of two. */
static uint32_t *make_chains(uint32_t count, uint32_t *ret_mask)
{
	uint32_t chains = 16;

	while (chains < count)
		chains *= 2;
	*ret_mask = chains - 1;
	return tables_memory(chains * sizeof(uint32_t));
}

int slots_init(struct slots *slots, uint32_t count)
{
	assert(count > 0);
	*slots = (struct slots){ .count = count };
	slots->chains = make_chains(count, &slots->mask);
	slots->holders = tables_memory(count * sizeof(*slots->holders));
	return slots->chains && slots->holders ? 0 : -ENOMEM;
}

uint32_t slots_take(struct slots *slots)
{
	uint32_t slot = slots->free - 1;

	if (slots->free == 0)
		return slots->used < slots->count ? slots->used++ : SLOTS_NONE;
	slots->free = slots->holders[slot].next;
	return slot;
}

void slots_give(struct slots *slots, uint32_t slot)
{
	assert(slot < slots->used);
	slots->holders[slot].next = slots->free;
	slots->free = slot + 1;
}

static uint32_t *slots_chain(struct slots *slots, int32_t pid)
{
	return &slots->chains[((uint32_t)pid * 2654435769u >> 7) & slots->mask];
}

void slots_bind(struct slots *slots, int32_t pid, uint32_t slot)
{
	uint32_t *chain = slots_chain(slots, pid);

	assert(pid > 0 && slot < slots->count);
	slots->holders[slot].pid = pid;
	slots->holders[slot].next = *chain;
	*chain = slot + 1;
}

uint32_t slots_unbind(struct slots *slots, int32_t pid)
{
	for (uint32_t *link = slots_chain(slots, pid); *link != 0;) {
		struct holder *holder = &slots->holders[*link - 1];

		if (holder->pid == pid) {
			*link = holder->next;
			return (uint32_t)(holder - slots->holders);
		}
		link = &holder->next;
	}
	return SLOTS_NONE;
}

int sources_init(struct sources *sources, const struct settings *settings)
{
	const uint32_t count = settings->connections + SOURCES_IDLE;
	ssize_t n;

	*sources = (struct sources){ .settings = settings, .count = count };
	sources->chains = make_chains(count, &sources->mask);
	sources->nodes = tables_memory((count + (size_t)1) * sizeof(*sources->nodes));
	if (!sources->chains || !sources->nodes)
		return -ENOMEM;
	n = sys_random(sources->seed, sizeof(sources->seed));
	return n < 0 ? (int)n : 0;
}

static uint32_t *sources_chain(struct sources *sources, const uint8_t key[16])
{
	uint64_t words[2];

	memcpy(words, key, sizeof(words));
	return &sources->chains[cidr_hash(words, sources->seed) & sources->mask];
}

/* Puts the node into the ring as the newest. */
static void idle_append(struct sources *sources, uint32_t index)
{
	struct source *source = &sources->nodes[index];

	source->newer = 0;
	source->older = sources->nodes[0].older;
	sources->nodes[source->older].newer = index;
	sources->nodes[0].older = index;
}

static void idle_remove(struct sources *sources, uint32_t index)
{
	const struct source *source = &sources->nodes[index];

	sources->nodes[source->older].newer = source->newer;
	sources->nodes[source->newer].older = source->older;
}

/*
 * Returns a node that is in neither chain nor ring: one that was never used, or that of the source
 * that has been idle longest. Without a rate to remember, the idle one is preferred.
 */
static uint32_t sources_take_node(struct sources *sources)
{
	uint32_t oldest = sources->nodes[0].newer;
	uint32_t *link;

	if (sources->used < sources->count &&
	    (oldest == 0 || sources->settings->rate_per_source > 0))
		return ++sources->used;
	assert(oldest != 0);
	link = sources_chain(sources, sources->nodes[oldest].key);
	while (*link != oldest)
		link = &sources->nodes[*link].next;
	*link = sources->nodes[oldest].next;
	idle_remove(sources, oldest);
	return oldest;
}

/* Returns the node of key, taken out of the ring; makes one with a full bucket if there is none. */
static uint32_t sources_find(struct sources *sources, const uint8_t key[16], uint64_t now_ns)
{
	const struct settings *settings = sources->settings;
	uint32_t *chain = sources_chain(sources, key);
	uint32_t index = *chain;
	struct source *source;

	while (index != 0 && memcmp(sources->nodes[index].key, key, 16) != 0)
		index = sources->nodes[index].next;
	if (index != 0) {
		if (sources->nodes[index].live == 0)
			idle_remove(sources, index);
		return index;
	}
	index = sources_take_node(sources);
	source = &sources->nodes[index];
	memcpy(source->key, key, 16);
	source->next = *chain;
	*chain = index;
	if (settings->rate_per_source > 0)
		bucket_init(&source->bucket, now_ns, settings->rate_per_source,
			    settings->rate_burst);
	return index;
}

int sources_enter(struct sources *sources, const uint8_t address[16], uint64_t now_ns,
		  uint32_t *ret_source)
{
	const struct settings *settings = sources->settings;
	struct source *source;
	uint8_t key[16];
	uint32_t index;
	int r = 0;

	if (settings->connections_per_source == 0 && settings->rate_per_source == 0) {
		*ret_source = SOURCES_NONE;
		return 0;
	}
	memcpy(key, address, sizeof(key));
	cidr_source(key, settings->source_prefix_ipv4, settings->source_prefix_ipv6);
	index = sources_find(sources, key, now_ns);
	source = &sources->nodes[index];
	if (settings->connections_per_source > 0 &&
	    source->live >= settings->connections_per_source)
		r = -EUSERS;
	else if (settings->rate_per_source > 0 &&
		 bucket_take(&source->bucket, now_ns, settings->rate_per_source,
			     settings->rate_burst, 1) == 0)
		r = -EAGAIN;
	if (r == 0) {
		source->live++;
		*ret_source = index;
	} else if (source->live == 0) {
		idle_append(sources, index);
	}
	return r;
}

void sources_leave(struct sources *sources, uint32_t source)
{
	if (source == SOURCES_NONE)
		return;
	assert(sources->nodes[source].live > 0);
	if (--sources->nodes[source].live == 0)
		idle_append(sources, source);
}
