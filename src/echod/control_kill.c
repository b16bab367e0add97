/* SPDX-License-Identifier: MIT */
/* Ending connections on request: one by its id, or all of a source. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/cidr.h"
#include "echod/control_client.h"

static unsigned kill_source(struct supervisor *supervisor, const struct cidr *source)
{
	unsigned count = 0;
	uint8_t address[16];

	for (struct generation *i = supervisor->generations; i; i = i->next) {
		for (uint32_t slot = 0; slot < i->scoreboard.slots; slot++) {
			const struct entry *entry = &i->scoreboard.table->entries[slot];
			uint64_t id = atomic_load(&entry->id);

			if (atomic_load(&entry->state) != ENTRY_LIVE ||
			    !endpoint_address(&entry->peer, address) ||
			    !cidr_contains(source->prefix, source->bits, address) ||
			    atomic_load(&entry->id) != id)
				continue;
			count += supervisor_kill_slot(supervisor, i, slot, id) == 0;
		}
	}
	return count;
}

static void reply_killed(struct control_client *client, unsigned count)
{
	control_reply(client, json_pack("{s:s, s:i, s:b, s:I}", "event", "kill", "version",
					CONTROL_VERSION, "ok", 1, "count", (json_int_t)count));
}

static void kill_by_source(struct control_client *client, const char *text)
{
	struct cidr source;
	const char *why;
	unsigned count;

	if (cidr_parse(text, &source, &why) < 0) {
		control_reply_error(client, "source: %s", why);
		return;
	}
	count = kill_source(client->control->supervisor, &source);
	control_log(client, "ends %u connections of source %s", count, text);
	reply_killed(client, count);
}

static void kill_by_id(struct control_client *client, const char *text)
{
	uint64_t number, id;
	int length = 0;

	if (sscanf(text, "%" SCNu64 ".%" SCNu64 "%n", &number, &id, &length) != 2 ||
	    text[length]) {
		control_reply_error(client, "id: a generation and a connection, as in 3.1047");
		return;
	}
	if (supervisor_kill(client->control->supervisor, number, id) < 0) {
		control_reply_error(client, "id: no connection %s", text);
		return;
	}
	control_log(client, "ends connection %s", text);
	reply_killed(client, 1);
}

void control_kill(struct control_client *client, json_t *request)
{
	const char *id = json_string_value(json_object_get(request, "id"));
	const char *source = json_string_value(json_object_get(request, "source"));

	if (!id == !source)
		control_reply_error(client, "kill: either \"id\" or \"source\"");
	else if (id)
		kill_by_id(client, id);
	else
		kill_by_source(client, source);
}
