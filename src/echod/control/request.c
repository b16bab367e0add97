/* SPDX-License-Identifier: MIT */
/* The requests of clients: who may make them, and their answers. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cidr.h"
#include "base/clock.h"
#include "base/number.h"
#include "echod/control/client.h"
#include "echod/log/log.h"
#include "echod/metrics/metrics.h"
#include "echod/report/report.h"
#include "wire/event.h"

/* Logs at notice what a client did: "control: ... (uid 0, pid 4711)". */
#define log_action(client, format, ...) \
	log_notice("control: " format " (uid %u, pid %d)", ##__VA_ARGS__, \
		   (unsigned)(client)->uid, (int)(client)->pid)

void control_reply(struct control_client *client, json_t *reply)
{
	char *line = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
	size_t size = line ? strlen(line) : 0;
	char *more = line ? realloc(client->reply, client->reply_size + size + 1) : NULL;

	if (more) {
		memcpy(more + client->reply_size, line, size + 1);
		more[client->reply_size + size] = '\n';
		client->reply = more;
		client->reply_size += size + 1;
	} else {
		client->close_after_reply = true;
	}
	free(line);
	json_decref(reply);
}

void control_reply_error(struct control_client *client, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	control_reply(client, control_error(text));
}

json_t *control_error(const char *text)
{
	return json_pack("{s:s, s:i, s:b, s:o}", "event", "error", "version", CONTROL_VERSION,
			 "ok", 0, "error", control_text(text));
}

json_t *control_text(const char *text)
{
	json_t *made = json_string(text);
	char *copy = made ? NULL : strdup(text);

	for (char *c = copy; c && *c; c++)
		if ((unsigned char)*c > 0x7f)
			*c = '?';
	if (copy)
		made = json_string(copy);
	free(copy);
	return made;
}

static const char *const end_names[] = END_NAMES;
static const char *const refuse_names[] = REFUSE_NAMES;
static const char *const drop_names[] = DROP_NAMES;
static const char *const state_names[] = {
	[GENERATION_STARTING] = "starting",
	[GENERATION_SERVING] = "serving",
	[GENERATION_DRAINING] = "draining",
	[GENERATION_ORPHANED] = "orphaned",
};

static json_t *integer(uint64_t value)
{
	return json_integer(value < INT64_MAX ? (json_int_t)value : INT64_MAX);
}

static json_t *counters(const char *const *names, const uint64_t *values, size_t count)
{
	json_t *object = json_object();

	for (size_t i = 0; i < count; i++)
		json_object_set_new(object, names[i], integer(values[i]));
	return object;
}

static json_t *sockets_status(const struct sockets *sockets)
{
	json_t *array = json_array();

	for (size_t i = 0; i < sockets->count; i++)
		json_array_append_new(array, json_pack("{s:o, s:b}", "address",
						       control_text(sockets->items[i].text),
						       "passed", sockets->passed));
	return array;
}

static json_t *generations_status(const struct supervisor *supervisor)
{
	json_t *array = json_array();
	uint64_t now_ns = clock_now_ns();

	for (struct generation *i = supervisor->generations; i; i = i->next)
		json_array_append_new(array, json_pack(
			"{s:I, s:s, s:i, s:I, s:I, s:I}",
			"number", (json_int_t)i->number,
			"state", state_names[i->state],
			"listener_pid", (int)i->listener_pid,
			"age_ns", (json_int_t)(now_ns - i->started_ns),
			"live", (json_int_t)generation_live(i),
			"connections_max", (json_int_t)i->scoreboard.words));
	return array;
}

static json_t *connections_status(const struct supervisor *supervisor, const struct tally *tally)
{
	uint64_t in, out;

	totals_live_bytes(supervisor, &in, &out);
	return json_pack("{s:I, s:i, s:I, s:I, s:o, s:o, s:I, s:o, s:o, s:o, s:o}",
			 "live", (json_int_t)tally_live(tally),
			 "waiting", (int)totals_waiting(supervisor),
			 "max", (json_int_t)supervisor->configuration->limits.connections,
			 "accepted", (json_int_t)tally->accepted,
			 "closed", counters(end_names, tally->closed, END_COUNT),
			 "refused", counters(refuse_names, tally->refused, REFUSE_COUNT),
			 "empty", (json_int_t)tally->empty,
			 "bytes_in", integer(tally->bytes_in),
			 "bytes_out", integer(tally->bytes_out),
			 "live_bytes_in", integer(in),
			 "live_bytes_out", integer(out));
}

static json_t *datagrams_status(const struct tally *tally)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
			 "received", integer(tally->datagrams_received),
			 "sent", integer(tally->datagrams_sent),
			 "bytes_in", integer(tally->datagram_bytes_in),
			 "bytes_out", integer(tally->datagram_bytes_out),
			 "dropped", counters(drop_names, tally->datagrams_dropped, DROP_COUNT),
			 "kernel_dropped", integer(tally->datagrams_kernel_dropped),
			 "restarts", integer(tally->datagram_restarts));
}

/* Returns the generation with the highest number at or below this. */
static struct generation *find_generation(const struct supervisor *supervisor, uint64_t number)
{
	struct generation *generation = supervisor->generations;

	while (generation && generation->number > number)
		generation = generation->next;
	return generation;
}

/* Appends the row of a slot. Returns false if no connection has it, or no longer. */
static bool list_row(struct control_client *client, const struct generation *generation,
		     uint32_t index)
{
	const struct entry *entry = &generation->scoreboard.table->entries[index];
	const struct slot *slot = &generation->scoreboard.slot[index];
	const struct slot_note *note = &generation->scoreboard.notes[index];
	uint64_t id = atomic_load(&entry->id);
	bool is_noted = note->id == id;	/* otherwise it is younger than the last sample */
	char name[48], path[UNIX_PATH_BYTES];
	char peer[ADDRESS_TEXT_MAX], via[ADDRESS_TEXT_MAX], local[ADDRESS_TEXT_MAX];
	bool has_via = entry->via.family != ENDPOINT_NONE;
	struct unique_id unique_id = entry->unique_id;
	struct log_text escaped;
	uint64_t now_ns, start_ns, moved_ns;

	if (atomic_load(&entry->state) != ENTRY_LIVE || !id)
		return false;
	now_ns = clock_now_ns();
	start_ns = atomic_load(&entry->start_ns);
	moved_ns = is_noted ? note->moved_ns : start_ns;
	snprintf(name, sizeof(name), "%" PRIu64 ".%" PRIu64, generation->number, id);
	report_peer(&entry->peer, peer);
	report_peer(&entry->via, via);
	log_escape(unique_id.bytes, unique_id.size <= UNIQUE_ID_MAX ? unique_id.size : 0, &escaped);
	report_local(&entry->local, generation_unix_path(generation, entry->socket, path), local);
	/* The listener may have given the slot to another one while we read. */
	if (atomic_load(&entry->id) != id)
		return false;
	control_reply(client, json_pack(
		"{s:s, s:s, s:s, s:s*, s:s*, s:o, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:b}",
		"event", "connection", "id", name,
		"peer", peer,
		"via", has_via ? via : NULL,
		"unique_id", escaped.size > 0 ? escaped.bytes : NULL,
		"local", control_text(local),
		"worker", (int)atomic_load(&entry->pid),
		"age_ns", (json_int_t)(now_ns > start_ns ? now_ns - start_ns : 0),
		"idle_ns", (json_int_t)(now_ns > moved_ns ? now_ns - moved_ns : 0),
		"bytes_in", (json_int_t)slot_bytes(&slot->bytes_in),
		"bytes_out", (json_int_t)slot_bytes(&slot->bytes_out),
		"bytes_in_per_s", (json_int_t)(is_noted ? note->rate_in : 0),
		"bytes_out_per_s", (json_int_t)(is_noted ? note->rate_out : 0),
		"half_closed", atomic_load(&slot->phase) == SLOT_HALF_CLOSED));
	client->list_count++;
	return true;
}

void control_list_more(struct control_client *client)
{
	const struct supervisor *supervisor = client->control->supervisor;
	struct generation *i = find_generation(supervisor, client->list_generation);
	unsigned rows = 0;

	assert(client->is_listing);
	for (; i; i = i->next) {
		if (i->number != client->list_generation)
			client->list_slot = 0;
		client->list_generation = i->number;
		for (; client->list_slot < i->scoreboard.slots; client->list_slot++) {
			if (rows == CONTROL_ROWS)
				return;
			rows += list_row(client, i, client->list_slot);
		}
	}
	client->is_listing = false;
	control_reply(client, json_pack("{s:s, s:i, s:b, s:I}", "event", "list", "version",
					CONTROL_VERSION, "ok", 1, "count",
					(json_int_t)client->list_count));
}

/* As kill_by_id(). */
static int kill_by_source(struct control_client *client, const char *text)
{
	const struct supervisor *supervisor = client->control->supervisor;
	uint8_t address[16];
	struct cidr source;
	const char *why;
	int count = 0, failed = 0;

	if (cidr_parse(text, &source, &why) < 0) {
		control_reply_error(client, "source: %s", why);
		return -EINVAL;
	}
	for (struct generation *i = supervisor->generations; i; i = i->next) {
		for (uint32_t slot = 0; slot < i->scoreboard.slots; slot++) {
			uint64_t id = scoreboard_peer(&i->scoreboard, slot, address);
			int r = -ESRCH;		/* it has ended meanwhile */

			if (id && cidr_contains(source.prefix, source.bits, address))
				r = generation_kill_slot(i, slot, id);
			count += r == 0;
			failed = r == 0 || r == -ESRCH ? failed : r;
		}
	}
	log_action(client, "ends %d connections of source %s", count, text);
	if (failed)
		control_reply_error(client, "source: %d connections end, not all of them: %s",
				    count, strerror(-failed));
	return failed ? failed : count;
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

/* Returns how many were told to end, or -errno after telling the client why none was. */
static int kill_by_id(struct control_client *client, const char *text)
{
	struct generation *generation;
	uint64_t number, id;
	int r = -ESRCH;

	if (!id_parse(text, &number, &id)) {
		control_reply_error(client, "id: a generation and a connection, as in 3.1047");
		return -EINVAL;
	}
	generation = find_generation(client->control->supervisor, number);
	if (generation && generation->number == number)
		r = generation_kill_connection(generation, id);
	if (r == -ESRCH)
		control_reply_error(client, "id: no connection %s", text);
	else if (r < 0)
		control_reply_error(client, "id: %s: %s", text, strerror(-r));
	else
		log_action(client, "ends connection %s", text);
	return r < 0 ? r : 1;
}

static void handle_kill(struct control_client *client, json_t *request)
{
	const char *id = json_string_value(json_object_get(request, "id"));
	const char *source = json_string_value(json_object_get(request, "source"));
	int count;

	client->control->supervisor->kill_wanted = true;
	if (!id == !source) {
		control_reply_error(client, "kill: either \"id\" or \"source\"");
		return;
	}
	count = id ? kill_by_id(client, id) : kill_by_source(client, source);
	if (count < 0)
		return;
	/* control_note_killed() answers when they have ended */
	client->wait = WAIT_KILL;
	client->kill_count = (unsigned)count;
	client->kill_ns = clock_now_ns();
}

static void handle_status(struct control_client *client, json_t *request)
{
	const struct supervisor *supervisor = client->control->supervisor;
	const char *path = supervisor->configuration->path;
	struct tally tally;

	(void)request;
	totals_sum(supervisor, &tally);
	control_reply(client, json_pack(
		"{s:s, s:i, s:b, s:s, s:i, s:I, s:b, s:b, s:o, s:o, s:{s:o?, s:I}, s:o, s:o, s:I,"
		" s:I, s:I, s:I, s:I, s:i}",
		"event", "status", "version", CONTROL_VERSION, "ok", 1,
		"program_version", PACKAGE_VERSION,
		"pid", (int)getpid(),
		"uptime_ns", (json_int_t)(clock_now_ns() - supervisor->started_ns),
		"draining", supervisor->ending != ENDING_NONE,
		"reloading", supervisor->reload_wanted || supervisor->next_configuration,
		"sockets", sockets_status(&supervisor->sockets),
		"generations", generations_status(supervisor),
		"settings", "path", path ? control_text(path) : NULL,
		"loaded_us", (json_int_t)supervisor->reloaded_realtime_us,
		"connections", connections_status(supervisor, &tally),
		"datagrams", datagrams_status(&tally),
		"log_suppressed", (json_int_t)supervisor->report.suppressed,
		"log_lost", (json_int_t)log_lost(),
		"events_dropped", (json_int_t)tally.events_dropped,
		"starved", (json_int_t)tally.starved,
		"listener_restarts", (json_int_t)supervisor->listener_restarts,
		"log_level", log_level()));
}

static void handle_metrics(struct control_client *client, json_t *request)
{
	char *text = metrics_text(client->control->supervisor, METRICS_OPENMETRICS);

	(void)request;
	control_reply(client, json_pack("{s:s, s:i, s:b, s:s}", "event", "metrics",
					"version", CONTROL_VERSION, "ok", 1, "text", text));
	free(text);
}

static void handle_list(struct control_client *client, json_t *request)
{
	(void)request;
	client->is_listing = true;
	client->list_generation = UINT64_MAX;
	client->list_slot = 0;
	client->list_count = 0;
}

static void handle_reload(struct control_client *client, json_t *request)
{
	struct supervisor *supervisor = client->control->supervisor;

	(void)request;
	if (supervisor->ending != ENDING_NONE) {
		control_reply_error(client, "the daemon is stopping");
		return;
	}
	json_decref(client->problems);
	client->problems = json_array();
	client->wait = WAIT_RELOAD;
	log_action(client, "reload");
	supervisor->reload_wanted = true;
}

static void handle_drain(struct control_client *client, json_t *request)
{
	(void)request;
	client->wait = WAIT_DRAIN;
	if (client->control->supervisor->ending != ENDING_NONE)
		return;
	log_action(client, "drain");
	client->control->supervisor->drain_wanted = true;
}

static void handle_log_level(struct control_client *client, json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "level"));
	int level = name ? configuration_level(name) : -EINVAL;

	if (level < 0) {
		control_reply_error(client, "level: one of emerg alert crit err warning notice "
				    "info debug");
		return;
	}
	log_set_level(level);
	log_action(client, "log level is %s until the next reload", name);
	control_reply(client, json_pack("{s:s, s:i, s:b, s:s}", "event", "log-level", "version",
					CONTROL_VERSION, "ok", 1, "level", name));
}

static const struct {
	const char *name;
	bool is_for_operators;
	void (*handle)(struct control_client *client, json_t *request);
} commands[] = {
	{ "status", false, handle_status },
	{ "metrics", false, handle_metrics },
	{ "list", true, handle_list },
	{ "kill", true, handle_kill },
	{ "reload", true, handle_reload },
	{ "drain", true, handle_drain },
	{ "log-level", true, handle_log_level },
};

static void handle_request(struct control_client *client, json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "command"));
	json_t *version = json_object_get(request, "version");

	if (!name) {
		control_reply_error(client, "a request is an object with a \"command\"");
		return;
	}
	if (version && json_integer_value(version) != CONTROL_VERSION) {
		control_reply_error(client, "version: this daemon speaks %d", CONTROL_VERSION);
		return;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		if (commands[i].is_for_operators && !client->is_operator)
			control_reply_error(client, "%s: not permitted", commands[i].name);
		else
			commands[i].handle(client, request);
		return;
	}
	control_reply_error(client, "unknown command");
}

void control_handle(struct control_client *client, const char *line, size_t size)
{
	json_error_t error;
	json_t *request = json_loadb(line, size, JSON_REJECT_DUPLICATES, &error);

	assert(client->wait == WAIT_NONE && !client->is_listing);
	if (request)
		handle_request(client, request);
	else
		control_reply_error(client, "not JSON: column %d: %s", error.column, error.text);
	json_decref(request);
}
