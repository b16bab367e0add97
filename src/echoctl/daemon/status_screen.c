/* SPDX-License-Identifier: MIT */
/* Layout of the status screen, 80 columns. */
#include "echoctl/daemon/status_screen.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "echoctl/daemon/client.h"
#include "echoctl/output/units.h"

#define BAR_COLUMNS 30

static const char *const levels[] = {
	"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
};

void status_bar(FILE *stream, uint64_t value, uint64_t max, unsigned columns, bool utf8)
{
	unsigned filled = 0;

	if (max > 0)
		filled = value >= max ? columns :
			 (unsigned)((double)value / (double)max * columns);
	/* What is not nothing can be seen. */
	if (value > 0 && filled == 0)
		filled = 1;
	fputc('[', stream);
	for (unsigned i = 0; i < columns; i++)
		fputs(i >= filled ? " " : utf8 ? "█" : "#", stream);
	fputc(']', stream);
}

static uint64_t most_of(const uint64_t *values, unsigned count)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < count; i++)
		if (values[i] > most)
			most = values[i];
	return most;
}

void status_curve(FILE *stream, const uint64_t *values, unsigned count, bool utf8)
{
	static const char *const blocks[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	static const char *const marks[] = { "_", ".", ".", ":", ":", "|", "|", "#" };
	uint64_t most = most_of(values, count);

	for (unsigned i = 0; i < count; i++) {
		unsigned step = 0;

		if (values[i] > 0)
			step = 1 + (unsigned)((double)values[i] / (double)most * 6);
		fputs(utf8 ? blocks[step] : marks[step], stream);
	}
}

static const char *bytes_text(int64_t bytes, char text[UNITS_TEXT_MAX])
{
	return units_bytes((double)bytes, text);
}

static json_int_t integer(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void draw_sockets(FILE *stream, const json_t *sockets)
{
	json_t *socket;
	size_t i;

	fprintf(stream, "listening    ");
	json_array_foreach(sockets, i, socket) {
		fprintf(stream, "%s%s%s", i > 0 ? ", " : "", control_text(socket, "address"),
			json_is_true(json_object_get(socket, "passed")) ? " (passed)" : "");
	}
	fputs(json_array_size(sockets) > 0 ? "\n\n" : "nowhere\n\n", stream);
}

static void draw_head(FILE *stream, const json_t *status)
{
	const json_t *settings = json_object_get(status, "settings");
	const char *path = control_text(settings, "path");
	time_t loaded = (time_t)(integer(settings, "loaded_us") / 1000000);
	char age[UNITS_TEXT_MAX];
	char when[32] = "";
	struct tm local;

	fprintf(stream, "echod %s, process %" JSON_INTEGER_FORMAT ", up %s%s\n",
		control_text(status, "program_version"), integer(status, "pid"),
		units_age((uint64_t)integer(status, "uptime_ns"), age),
		json_is_true(json_object_get(status, "draining")) ? ", DRAINING" :
		json_is_true(json_object_get(status, "reloading")) ? ", reloading" : "");
	if (localtime_r(&loaded, &local))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local);
	fprintf(stream, "settings     %s, in force since %s\n", *path ? path : "defaults", when);
	draw_sockets(stream, json_object_get(status, "sockets"));
}

/* The counters that are not zero. */
static void draw_counters(FILE *stream, const char *title, json_t *counters)
{
	unsigned shown = 0;
	const char *key;
	json_t *value;

	fprintf(stream, "%-13s", title);
	json_object_foreach(counters, key, value) {
		if (json_integer_value(value) > 0)
			fprintf(stream, "%s%s %" JSON_INTEGER_FORMAT, shown++ > 0 ? ", " : "", key,
				json_integer_value(value));
	}
	fputs(shown > 0 ? "\n" : "none\n", stream);
}

static json_int_t total(json_t *counters)
{
	json_int_t sum = 0;
	const char *key;
	json_t *value;

	json_object_foreach(counters, key, value) {
		sum += json_integer_value(value);
	}
	return sum;
}

static void draw_connections(FILE *stream, const json_t *connections, bool utf8)
{
	json_t *closed = json_object_get(connections, "closed");
	json_t *refused = json_object_get(connections, "refused");
	uint64_t live = (uint64_t)integer(connections, "live");
	uint64_t max = (uint64_t)integer(connections, "max");
	char in[UNITS_TEXT_MAX], out[UNITS_TEXT_MAX];

	fprintf(stream, "connections  %" PRIu64 " of %" PRIu64 " ", live, max);
	status_bar(stream, live, max, BAR_COLUMNS, utf8);
	fprintf(stream, " %.1f%%\n", max ? 100 * (double)live / (double)max : 0);
	fprintf(stream, "since start  %" JSON_INTEGER_FORMAT " accepted, %" JSON_INTEGER_FORMAT
		" served, %" JSON_INTEGER_FORMAT " refused, %" JSON_INTEGER_FORMAT
		" without a byte\n", integer(connections, "accepted"), total(closed),
		total(refused), integer(connections, "empty"));
	fprintf(stream, "bytes        %s in, %s out",
		bytes_text(integer(connections, "bytes_in"), in),
		bytes_text(integer(connections, "bytes_out"), out));
	fprintf(stream, "; live ones %s in, %s out\n",
		bytes_text(integer(connections, "live_bytes_in"), in),
		bytes_text(integer(connections, "live_bytes_out"), out));
	draw_counters(stream, "ended by", closed);
	draw_counters(stream, "refused by", refused);
}

static void draw_health(FILE *stream, const json_t *status)
{
	json_int_t level = integer(status, "log_level");
	json_int_t restarts = integer(status, "listener_restarts");
	json_int_t starved = integer(status, "starved");

	fprintf(stream, "log          level %s, %" JSON_INTEGER_FORMAT " lines suppressed, %"
		JSON_INTEGER_FORMAT " lost, %" JSON_INTEGER_FORMAT " events dropped\n",
		level >= 0 && level < (json_int_t)(sizeof(levels) / sizeof(*levels)) ?
			levels[level] : "unknown",
		integer(status, "log_suppressed"), integer(status, "log_lost"),
		integer(status, "events_dropped"));
	fprintf(stream, "listener     restarted %" JSON_INTEGER_FORMAT " time%s, starved %"
		JSON_INTEGER_FORMAT " time%s\n\n", restarts, restarts == 1 ? "" : "s", starved,
		starved == 1 ? "" : "s");
}

static void draw_generations(FILE *stream, const json_t *generations)
{
	char age[UNITS_TEXT_MAX];
	json_t *item;
	size_t i;

	fprintf(stream, "generation  state     age           listener     live    limit\n");
	json_array_foreach(generations, i, item) {
		fprintf(stream, "%10" JSON_INTEGER_FORMAT "  %-9s %-12s %9" JSON_INTEGER_FORMAT
			" %8" JSON_INTEGER_FORMAT " %8" JSON_INTEGER_FORMAT "\n",
			integer(item, "number"), control_text(item, "state"),
			units_age((uint64_t)integer(item, "age_ns"), age),
			integer(item, "listener_pid"), integer(item, "live"),
			integer(item, "connections_max"));
	}
}

/* Per second, between two states of the daemon; a counter that runs backwards is no rate. */
static uint64_t rate(uint64_t now, uint64_t before, uint64_t elapsed_ns)
{
	if (now <= before)
		return 0;
	return (uint64_t)((double)(now - before) * 1e9 / (double)elapsed_ns + 0.5);
}

void status_history_add(struct status_history *history, const json_t *status)
{
	const json_t *connections = json_object_get(status, "connections");
	uint64_t uptime_ns = (uint64_t)integer(status, "uptime_ns");
	uint64_t accepted = (uint64_t)integer(connections, "accepted");
	uint64_t bytes_in = (uint64_t)integer(connections, "bytes_in") +
			    (uint64_t)integer(connections, "live_bytes_in");
	uint64_t elapsed_ns = uptime_ns - history->uptime_ns;

	if (uptime_ns <= history->uptime_ns) {	/* another daemon */
		*history = (struct status_history){0};
	} else if (history->uptime_ns > 0) {
		if (history->count == STATUS_HISTORY_MAX) {
			history->count--;
			memmove(history->accepted, history->accepted + 1,
				history->count * sizeof(*history->accepted));
			memmove(history->bytes_in, history->bytes_in + 1,
				history->count * sizeof(*history->bytes_in));
		}
		history->accepted[history->count] =
			rate(accepted, history->last_accepted, elapsed_ns);
		history->bytes_in[history->count++] =
			rate(bytes_in, history->last_bytes_in, elapsed_ns);
	}
	history->uptime_ns = uptime_ns;
	history->last_accepted = accepted;
	history->last_bytes_in = bytes_in;
}

static void draw_history(FILE *stream, const struct status_history *history, bool utf8)
{
	unsigned count = history->count;
	char now[UNITS_TEXT_MAX], peak[UNITS_TEXT_MAX];

	if (count == 0)
		return;
	fprintf(stream, "\nnew/s        %" PRIu64 ", at most %" PRIu64 " in the last %u s\n",
		history->accepted[count - 1], most_of(history->accepted, count), count);
	fprintf(stream, "             ");
	status_curve(stream, history->accepted, count, utf8);
	fprintf(stream, "\nbytes/s      %s, at most %s\n",
		bytes_text((int64_t)history->bytes_in[count - 1], now),
		bytes_text((int64_t)most_of(history->bytes_in, count), peak));
	fprintf(stream, "             ");
	status_curve(stream, history->bytes_in, count, utf8);
	fputc('\n', stream);
}

void status_screen_draw(FILE *stream, const json_t *status, const struct status_history *history,
			bool utf8)
{
	draw_head(stream, status);
	draw_connections(stream, json_object_get(status, "connections"), utf8);
	draw_health(stream, status);
	draw_generations(stream, json_object_get(status, "generations"));
	draw_history(stream, history, utf8);
}
