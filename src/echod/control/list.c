/* SPDX-License-Identifier: MIT */
/* A line for each live connection, a few at a time, so that ten thousand hold nobody up. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "echod/control/client.h"
#include "echod/report/endpoint_text.h"

/* Newest first: the one with the highest number at or below this. */
static struct generation *find_generation(const struct supervisor *supervisor, uint64_t number)
{
	struct generation *generation = supervisor->generations;

	while (generation && generation->number > number)
		generation = generation->next;
	return generation;
}

/* NULL: the connection has ended meanwhile, or there is no memory. */
static json_t *list_row(const struct generation *generation, uint32_t index, uint64_t id)
{
	const struct entry *entry = &generation->scoreboard.table->entries[index];
	const struct slot *slot = &generation->scoreboard.slot[index];
	const struct sample *sample = samples_find(&generation->samples, index, id);
	uint64_t now_ns = clock_now_ns();
	uint64_t start_ns = atomic_load(&entry->start_ns);
	uint64_t moved_ns = sample ? sample->moved_ns : start_ns;
	char name[48], path[UNIX_PATH_BYTES], peer[ADDRESS_TEXT_MAX], local[ADDRESS_TEXT_MAX];

	snprintf(name, sizeof(name), "%" PRIu64 ".%" PRIu64, generation->number, id);
	endpoint_text_peer(&entry->peer, peer);
	endpoint_text_local(&entry->local, &entry->peer, 
			    generation_unix_path(generation, entry->socket, path), local);
	/* The listener may have given the slot to another one while we read. */
	if (atomic_load(&entry->id) != id)
		return NULL;
	return json_pack(
		"{s:s, s:s, s:s, s:o, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:b}",
		"event", "connection", "id", name,
		"peer", peer,
		"local", control_text(local),
		"worker", (int)atomic_load(&entry->pid),
		"age_ns", (json_int_t)(now_ns > start_ns ? now_ns - start_ns : 0),
		"idle_ns", (json_int_t)(now_ns > moved_ns ? now_ns - moved_ns : 0),
		"bytes_in", (json_int_t)slot_bytes(&slot->bytes_in),
		"bytes_out", (json_int_t)slot_bytes(&slot->bytes_out),
		"bytes_in_per_s", (json_int_t)(sample ? sample->rate_in : 0),
		"bytes_out_per_s", (json_int_t)(sample ? sample->rate_out : 0),
		"half_closed", atomic_load(&slot->phase) == SLOT_HALF_CLOSED);
}

/* Returns the number of rows made, at most CONTROL_ROWS. */
static unsigned list_generation(struct control_client *client, const struct generation *generation)
{
	const struct scoreboard *scoreboard = &generation->scoreboard;
	unsigned rows = 0;

	for (; client->list_slot < scoreboard->slots && rows < CONTROL_ROWS; client->list_slot++) {
		const struct entry *entry = &scoreboard->table->entries[client->list_slot];
		uint64_t id = atomic_load(&entry->id);
		json_t *row;

		if (atomic_load(&entry->state) != ENTRY_LIVE || !id)
			continue;
		row = list_row(generation, client->list_slot, id);
		if (!row)
			continue;
		control_reply(client, row);
		rows++;
	}
	return rows;
}

void control_list_more(struct control_client *client)
{
	const struct supervisor *supervisor = client->control->supervisor;
	struct generation *generation = find_generation(supervisor, client->list_generation);

	assert(client->is_listing);
	while (generation) {
		if (generation->number != client->list_generation)
			client->list_slot = 0;
		client->list_generation = generation->number;
		client->list_count += list_generation(client, generation);
		if (client->list_slot < generation->scoreboard.slots)
			return;
		client->list_slot = 0;
		client->list_generation = generation->number - 1;
		generation = generation->next;
		if (client->reply)
			return;
	}
	client->is_listing = false;
	control_reply(client, json_pack("{s:s, s:i, s:b, s:I}", "event", "list", "version",
					CONTROL_VERSION, "ok", 1, "count",
					(json_int_t)client->list_count));
}
