/* SPDX-License-Identifier: MIT */
/* Ending connections on request: one by its id, or all of a source. */
#include <errno.h>
#include <string.h>

#include "base/cidr.h"
#include "base/clock.h"
#include "base/number.h"
#include "echod/control/client.h"

/* The answer comes when they have ended, see control_note_killed(). */
static void wait_for_end(struct control_client *client, unsigned count)
{
	client->wait = WAIT_KILL;
	client->kill_count = count;
	client->kill_ns = clock_now_ns();
}

/* Returns 0, or -errno if some could not be told; *ret_count is how many were. */
static int kill_source(struct supervisor *supervisor, const struct cidr *source,
		       unsigned *ret_count)
{
	uint8_t address[16];
	int failed = 0;

	*ret_count = 0;
	for (struct generation *i = supervisor->generations; i; i = i->next) {
		for (uint32_t slot = 0; slot < i->scoreboard.slots; slot++) {
			uint64_t id = scoreboard_peer(&i->scoreboard, slot, address);
			int r;

			if (!id || !cidr_contains(source->prefix, source->bits, address))
				continue;
			r = generation_kill_slot(i, slot, id);
			if (r == 0)
				++*ret_count;
			else if (r != -ESRCH)	/* it has ended meanwhile */
				failed = r;
		}
	}
	return failed;
}

static void kill_by_source(struct control_client *client, const char *text)
{
	struct cidr source;
	const char *why;
	unsigned count;
	int r;

	if (cidr_parse(text, &source, &why) < 0) {
		control_reply_error(client, "source: %s", why);
		return;
	}
	r = kill_source(client->control->supervisor, &source, &count);
	control_log(client, "ends %u connections of source %s", count, text);
	if (r < 0)
		control_reply_error(client, "source: %u connections end, not all of them: %s",
				    count, strerror(-r));
	else
		wait_for_end(client, count);
}

static int kill_connection(struct supervisor *supervisor, uint64_t number, uint64_t id)
{
	for (struct generation *i = supervisor->generations; i; i = i->next)
		if (i->number == number)
			return generation_kill_connection(i, id);
	return -ESRCH;
}

/* As list shows it, "3.1047". */
static bool id_parse(const char *text, uint64_t *ret_number, uint64_t *ret_id)
{
	const char *dot = strchr(text, '.');
	char number[24] = "";

	if (!dot || (size_t)(dot - text) >= sizeof(number))
		return false;
	memcpy(number, text, (size_t)(dot - text));
	return number_parse(number, 1, UINT64_MAX, ret_number) == 0 &&
	       number_parse(dot + 1, 1, UINT64_MAX, ret_id) == 0;
}

static void kill_by_id(struct control_client *client, const char *text)
{
	uint64_t number, id;
	int r;

	if (!id_parse(text, &number, &id)) {
		control_reply_error(client, "id: a generation and a connection, as in 3.1047");
		return;
	}
	r = kill_connection(client->control->supervisor, number, id);
	if (r == -ESRCH)
		control_reply_error(client, "id: no connection %s", text);
	else if (r < 0)
		control_reply_error(client, "id: %s: %s", text, strerror(-r));
	if (r < 0)
		return;
	control_log(client, "ends connection %s", text);
	wait_for_end(client, 1);
}

void control_kill(struct control_client *client, json_t *request)
{
	const char *id = json_string_value(json_object_get(request, "id"));
	const char *source = json_string_value(json_object_get(request, "source"));

	client->control->supervisor->kill_wanted = true;
	if (!id == !source)
		control_reply_error(client, "kill: either \"id\" or \"source\"");
	else if (id)
		kill_by_id(client, id);
	else
		kill_by_source(client, source);
}
