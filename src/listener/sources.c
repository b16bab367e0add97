/* SPDX-License-Identifier: MIT */
/* Sources: a chained hash over a fixed pool of nodes, the idle ones in order of their last use. */
#include "listener/sources.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/cidr.h"
#include "listener/memory.h"

int sources_init(struct sources *sources, const struct settings *settings,
		 const uint64_t seed[2])
{
	uint32_t chains = 16;

	memset(sources, 0, sizeof(*sources));
	sources->settings = settings;
	sources->seed[0] = seed[0];
	sources->seed[1] = seed[1];
	sources->count = settings->connections + SOURCES_IDLE;
	while (chains < sources->count)
		chains *= 2;
	sources->mask = chains - 1;
	sources->chains = memory_get(chains * sizeof(*sources->chains));
	sources->nodes = memory_get(sources->count * sizeof(*sources->nodes));
	if (!sources->chains || !sources->nodes) {
		sources_release(sources);
		return -ENOMEM;
	}
	memset(sources->chains, 0xff, chains * sizeof(*sources->chains));
	for (uint32_t i = 0; i < sources->count; i++)
		sources->nodes[i].next = i + 1 < sources->count ? i + 1 : SOURCES_NONE;
	sources->oldest = sources->newest = SOURCES_NONE;
	return 0;
}

void sources_release(struct sources *sources)
{
	memory_put(sources->chains, (sources->mask + (size_t)1) * sizeof(*sources->chains));
	memory_put(sources->nodes, sources->count * sizeof(*sources->nodes));
	sources->chains = NULL;
	sources->nodes = NULL;
}

static uint32_t *sources_chain(struct sources *sources, const uint8_t key[16])
{
	uint64_t words[2], hash;

	memcpy(words, key, sizeof(words));
	hash = (words[0] ^ sources->seed[0]) * 0x9e3779b97f4a7c15u;
	hash = (hash ^ hash >> 32 ^ words[1] ^ sources->seed[1]) * 0xd6e8feb86659fd93u;
	return &sources->chains[(hash ^ hash >> 32) & sources->mask];
}

static void idle_append(struct sources *sources, uint32_t index)
{
	struct source *source = &sources->nodes[index];

	source->older = sources->newest;
	source->newer = SOURCES_NONE;
	if (sources->newest != SOURCES_NONE)
		sources->nodes[sources->newest].newer = index;
	else
		sources->oldest = index;
	sources->newest = index;
}

static void idle_remove(struct sources *sources, uint32_t index)
{
	const struct source *source = &sources->nodes[index];

	if (source->older != SOURCES_NONE)
		sources->nodes[source->older].newer = source->newer;
	else
		sources->oldest = source->newer;
	if (source->newer != SOURCES_NONE)
		sources->nodes[source->newer].older = source->older;
	else
		sources->newest = source->older;
}

/* Takes an idle source out of the table; its node is free. */
static void sources_forget(struct sources *sources, uint32_t index)
{
	uint32_t *link = sources_chain(sources, sources->nodes[index].key);

	while (*link != index)
		link = &sources->nodes[*link].next;
	*link = sources->nodes[index].next;
	idle_remove(sources, index);
	sources->nodes[index].next = sources->free;
	sources->free = index;
}

/* The node of key, made when there is none; made ones are idle and have a full bucket. */
static uint32_t sources_find(struct sources *sources, const uint8_t key[16], uint64_t now_ns)
{
	const struct settings *settings = sources->settings;
	uint32_t *chain = sources_chain(sources, key);
	uint32_t index = *chain;
	struct source *source;

	while (index != SOURCES_NONE && memcmp(sources->nodes[index].key, key, 16) != 0)
		index = sources->nodes[index].next;
	if (index != SOURCES_NONE)
		return index;
	if (sources->free == SOURCES_NONE)
		sources_forget(sources, sources->oldest);
	index = sources->free;
	source = &sources->nodes[index];
	sources->free = source->next;
	source->next = *chain;
	*chain = index;
	memcpy(source->key, key, 16);
	source->live = 0;
	if (settings->rate_per_source > 0)
		bucket_init(&source->bucket, now_ns, settings->rate_per_source,
			    settings->rate_burst);
	idle_append(sources, index);
	return index;
}

/* A source without connections: remembered for its rate, at the end of the list, or not at all. */
static void sources_rest(struct sources *sources, uint32_t index)
{
	idle_append(sources, index);
	if (sources->settings->rate_per_source == 0)
		sources_forget(sources, index);
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
	if (source->live == 0)
		idle_remove(sources, index);
	if (settings->connections_per_source > 0 &&
	    source->live >= settings->connections_per_source)
		r = -EUSERS;
	else if (settings->rate_per_source > 0 &&
		 !bucket_take(&source->bucket, now_ns, settings->rate_per_source,
			      settings->rate_burst))
		r = -EAGAIN;
	if (r == 0) {
		source->live++;
		*ret_source = index;
	} else if (source->live == 0) {
		sources_rest(sources, index);
	}
	return r;
}

void sources_leave(struct sources *sources, uint32_t source)
{
	if (source == SOURCES_NONE)
		return;
	assert(sources->nodes[source].live > 0);
	if (--sources->nodes[source].live == 0)
		sources_rest(sources, source);
}
