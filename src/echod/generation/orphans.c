/* SPDX-License-Identifier: MIT */
/* Orphaned workers: the table says who they are, wait status and slot how they ended. */
#include "echod/generation/orphans.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

static int orphan_compare(const void *left, const void *right)
{
	pid_t a = ((const struct orphan *)left)->pid;
	pid_t b = ((const struct orphan *)right)->pid;

	return (a > b) - (a < b);
}

static bool is_orphan(const struct scoreboard *scoreboard, uint32_t slot)
{
	const struct entry *entry = &scoreboard->table->entries[slot];

	return atomic_load(&entry->pid) > 1 && atomic_load(&entry->state) == ENTRY_LIVE &&
	       atomic_load(&entry->id) != scoreboard->closed_id[slot];
}

int orphans_list(const struct scoreboard *scoreboard, struct orphans *ret_orphans)
{
	struct orphans made = {0};
	uint32_t count = 0;

	for (uint32_t slot = 0; slot < scoreboard->slots; slot++)
		count += is_orphan(scoreboard, slot);
	made.items = calloc(count ? count : 1, sizeof(*made.items));
	if (!made.items)
		return -ENOMEM;
	/* No listener writes the table any more: the second pass sees what the first one saw. */
	for (uint32_t slot = 0; slot < scoreboard->slots; slot++) {
		struct entry *entry = &scoreboard->table->entries[slot];

		if (atomic_load(&entry->state) != ENTRY_LIVE)
			continue;
		if (is_orphan(scoreboard, slot) && made.count < count)
			made.items[made.count++] = (struct orphan){
				.pid = atomic_load(&entry->pid),
				.slot = slot,
			};
		else
			atomic_store(&entry->state, ENTRY_FREE);
	}
	made.live = made.count;
	qsort(made.items, made.count, sizeof(*made.items), orphan_compare);
	*ret_orphans = made;
	return 0;
}

struct orphan *orphans_find(const struct orphans *orphans, pid_t pid)
{
	struct orphan key = { .pid = pid };
	struct orphan *found;

	if (orphans->count == 0)
		return NULL;
	found = bsearch(&key, orphans->items, orphans->count, sizeof(key), orphan_compare);
	return found && !found->ended ? found : NULL;
}

/* The listener reaped it and died before it said so: how far the worker got is all we know. */
static enum end_reason end_of_phase(uint32_t phase)
{
	return phase == SLOT_ENDING ? END_FIN : END_ERROR;
}

void orphan_event(const struct scoreboard *scoreboard, const struct orphan *orphan,
		  bool has_status, int status, const struct rusage *usage, uint64_t now_ns,
		  struct event *ret_event)
{
	const struct entry *entry = &scoreboard->table->entries[orphan->slot];
	const struct slot *slot = &scoreboard->slot[orphan->slot];
	enum slot_command command =
		command_for(&scoreboard->command[orphan->slot], orphan->pid);
	uint64_t cpu_us = 0;

	if (usage)
		cpu_us = (uint64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000 +
			 (uint64_t)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
	*ret_event = (struct event){
		.type = EVENT_CLOSED,
		.slot = orphan->slot,
		.id = atomic_load(&entry->id),
		.start_ns = atomic_load(&entry->start_ns),
		.end_ns = now_ns,
		.bytes_in = slot_bytes(&slot->bytes_in),
		.bytes_out = slot_bytes(&slot->bytes_out),
		.pid = orphan->pid,
		.status = has_status ? status : 0,
		.cpu_us = cpu_us < UINT32_MAX ? (uint32_t)cpu_us : UINT32_MAX,
		.rtt_us = atomic_load(&slot->rtt_us),
		.retransmits = atomic_load(&slot->retransmits),
		.reason = (uint16_t)(has_status ?
			end_of_status(status, command == SLOT_END_DRAIN) :
			end_of_phase(atomic_load(&slot->phase))),
		.socket = (uint16_t)entry->socket,
		.detail = atomic_load(&slot->detail),
		.count = 1,	/* what could prove the contrary died with the listener */
		.peer = entry->peer,
		.local = entry->local,
	};
}

void orphans_release(struct orphans *orphans)
{
	free(orphans->items);
	*orphans = (struct orphans){0};
}
