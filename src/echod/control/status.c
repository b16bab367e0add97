/* SPDX-License-Identifier: MIT */
/* The state of the daemon as one object. */
#include <unistd.h>

#include "base/clock.h"
#include "echod/control/client.h"
#include "echod/log/log.h"
#include "echod/state/totals.h"
#include "wire/event.h"

static const char *const end_names[] = END_NAMES;
static const char *const refuse_names[] = REFUSE_NAMES;
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
	return json_pack("{s:I, s:I, s:I, s:o, s:o, s:I, s:o, s:o, s:o, s:o}",
			 "live", (json_int_t)tally_live(tally),
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

json_t *control_status(const struct supervisor *supervisor)
{
	const char *path = supervisor->configuration->path;
	struct tally tally;

	totals_sum(supervisor, &tally);
	return json_pack(
		"{s:s, s:i, s:b, s:s, s:i, s:I, s:b, s:b, s:o, s:o, s:{s:o?, s:I}, s:o, s:I, s:I,"
		" s:I, s:I, s:I, s:i}",
		"event", "status", "version", CONTROL_VERSION, "ok", 1,
		"program_version", PACKAGE_VERSION,
		"pid", (int)getpid(),
		"uptime_ns", (json_int_t)(clock_now_ns() - supervisor->started_ns),
		"draining", supervisor->ending.phase != ENDING_NONE,
		"reloading", supervisor->reload_wanted || supervisor->reload_running,
		"sockets", sockets_status(&supervisor->sockets),
		"generations", generations_status(supervisor),
		"settings", "path", path ? control_text(path) : NULL,
		"loaded_us", (json_int_t)supervisor->reloaded_realtime_us,
		"connections", connections_status(supervisor, &tally),
		"log_suppressed", (json_int_t)supervisor->report.suppressed,
		"log_lost", (json_int_t)log_lost(),
		"events_dropped", (json_int_t)tally.events_dropped,
		"starved", (json_int_t)tally.starved,
		"listener_restarts", (json_int_t)supervisor->listener_restarts,
		"log_level", log_level());
}
