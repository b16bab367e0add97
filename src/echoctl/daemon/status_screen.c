/* SPDX-License-Identifier: MIT */
/* Layout of the status screen. */
#include "echoctl/daemon/status_screen.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "echoctl/daemon/client.h"

#define MARGIN 13		/* the columns in front of what a line shows */
#define BAR_COLUMNS 30
#define WIDTH_WITH_ALL 64	/* for that bar and all columns of the generations */

void status_bar(FILE *stream, uint64_t value, uint64_t max, unsigned columns, bool utf8)
{
	unsigned filled = 0;

	if (max > 0)
		filled = value >= max ? columns :
			 (unsigned)((double)value / (double)max * columns);
	/* Any value above 0 is visible. */
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

static const char *bytes_text(const json_t *object, const char *key, char text[UNITS_TEXT_MAX])
{
	return units_bytes((double)control_integer(object, key), text);
}

static void draw_head(FILE *stream, const json_t *status)
{
	const json_t *settings = json_object_get(status, "settings");
	const json_t *sockets = json_object_get(status, "sockets");
	const char *path = control_text(settings, "path");
	time_t loaded = (time_t)(control_integer(settings, "loaded_us") / 1000000);
	char age[UNITS_TEXT_MAX];
	char when[32] = "";
	struct tm local;
	json_t *socket;
	size_t i;

	fprintf(stream, "echod %s, process %lld, up %s%s\n",
		control_text(status, "program_version"), control_integer(status, "pid"),
		units_age((uint64_t)control_integer(status, "uptime_ns"), age),
		json_is_true(json_object_get(status, "draining")) ? ", DRAINING" :
		json_is_true(json_object_get(status, "reloading")) ? ", reloading" : "");
	if (localtime_r(&loaded, &local))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local);
	fprintf(stream, "settings     %s, in force since %s\n", *path ? path : "defaults", when);
	fprintf(stream, "listening    %s", json_array_size(sockets) > 0 ? "" : "nowhere");
	json_array_foreach(sockets, i, socket) {
		fprintf(stream, "%s%s%s", i > 0 ? ", " : "", control_text(socket, "address"),
			json_is_true(json_object_get(socket, "passed")) ? " (passed)" : "");
	}
	fputs("\n\n", stream);
}

/* The counters that are not zero. */
static void draw_counters(FILE *stream, const char *title, json_t *counters)
{
	bool any = false;
	const char *key;
	json_t *value;

	fprintf(stream, "%-13s", title);
	json_object_foreach(counters, key, value) {
		if (json_integer_value(value) <= 0)
			continue;
		fprintf(stream, "%s%s %lld", any ? ", " : "", key, json_integer_value(value));
		any = true;
	}
	fputs(any ? "\n" : "none\n", stream);
}

static json_int_t total(json_t *counters)
{
	json_int_t sum = 0;
	const char *key;
	json_t *value;

	json_object_foreach(counters, key, value)
		sum += json_integer_value(value);
	return sum;
}

static void draw_connections(FILE *stream, const json_t *connections, bool wide, bool utf8)
{
	json_t *closed = json_object_get(connections, "closed");
	json_t *refused = json_object_get(connections, "refused");
	uint64_t live = (uint64_t)control_integer(connections, "live");
	uint64_t max = (uint64_t)control_integer(connections, "max");
	uint64_t waiting = (uint64_t)control_integer(connections, "waiting");
	char in[UNITS_TEXT_MAX], out[UNITS_TEXT_MAX];

	fprintf(stream, "connections  %" PRIu64 " of %" PRIu64 " ", live, max);
	status_bar(stream, live, max, wide ? BAR_COLUMNS : BAR_COLUMNS / 10, utf8);
	fprintf(stream, " %.1f%%\n", max ? 100 * (double)live / (double)max : 0);
	if (waiting > 0)
		fprintf(stream, "waiting      %" PRIu64 " for their PROXY header\n", waiting);
	fprintf(stream, "since start  %lld accepted, %lld served, %lld refused, "
		"%lld without a byte\n", control_integer(connections, "accepted"), total(closed),
		total(refused), control_integer(connections, "empty"));
	fprintf(stream, "bytes        %s in, %s out", bytes_text(connections, "bytes_in", in),
		bytes_text(connections, "bytes_out", out));
	fprintf(stream, "; live ones %s in, %s out\n",
		bytes_text(connections, "live_bytes_in", in),
		bytes_text(connections, "live_bytes_out", out));
	draw_counters(stream, "ended by", closed);
	draw_counters(stream, "refused by", refused);
}

/* Nothing without a UDP socket. */
static void draw_datagrams(FILE *stream, const json_t *status)
{
	const json_t *datagrams = json_object_get(status, "datagrams");
	json_t *dropped = json_object_get(datagrams, "dropped"), *socket;
	char in[UNITS_TEXT_MAX], out[UNITS_TEXT_MAX];
	json_int_t restarts = control_integer(datagrams, "restarts");
	bool is_there = false;
	size_t i;

	json_array_foreach(json_object_get(status, "sockets"), i, socket)
		is_there |= strncmp(control_text(socket, "address"), "udp:", 4) == 0;
	if (!is_there)
		return;
	fprintf(stream,
		"udp          %lld received (%s), %lld sent (%s), %lld lost in the kernel\n",
		control_integer(datagrams, "received"), bytes_text(datagrams, "bytes_in", in),
		control_integer(datagrams, "sent"), bytes_text(datagrams, "bytes_out", out),
		control_integer(datagrams, "kernel_dropped"));
	draw_counters(stream, "dropped by", dropped);
	if (restarts > 0)
		fprintf(stream, "             its process was restarted %lld time%s\n", restarts,
			restarts == 1 ? "" : "s");
}

static void draw_health(FILE *stream, const json_t *status)
{
	static const char *const levels[] = {
		"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
	};
	json_int_t level = control_integer(status, "log_level");
	json_int_t restarts = control_integer(status, "listener_restarts");
	json_int_t starved = control_integer(status, "starved");

	fprintf(stream, "log          level %s, %lld lines suppressed, %lld lost, "
		"%lld events dropped\n", level >= 0 && level < 8 ? levels[level] : "unknown",
		control_integer(status, "log_suppressed"), control_integer(status, "log_lost"),
		control_integer(status, "events_dropped"));
	fprintf(stream, "listener     restarted %lld time%s, starved %lld time%s\n\n", restarts,
		restarts == 1 ? "" : "s", starved, starved == 1 ? "" : "s");
}

static void draw_generations(FILE *stream, const json_t *generations, bool wide)
{
	char age[UNITS_TEXT_MAX];
	json_t *item;
	size_t i;

	fprintf(stream, wide ? "generation  state     age           listener     live    limit\n" :
			"no. state     age          live  limit\n");
	json_array_foreach(generations, i, item) {
		fprintf(stream, wide ? "%10lld  %-9s %-12s" : "%3lld %-9s %-11s",
			control_integer(item, "number"), control_text(item, "state"),
			units_age((uint64_t)control_integer(item, "age_ns"), age));
		if (wide)
			fprintf(stream, " %9lld", control_integer(item, "listener_pid"));
		fprintf(stream, wide ? " %8lld %8lld\n" : " %5lld %6lld\n",
			control_integer(item, "live"), control_integer(item, "connections_max"));
	}
}

/*
 * Adds what came since the total before, per second. A counter that runs backwards gives no rate.
 */
static void add_rate(struct status_series *series, unsigned count, uint64_t total,
		     uint64_t elapsed_ns)
{
	uint64_t more = total > series->total ? total - series->total : 0;

	if (count == STATUS_HISTORY_MAX)
		memmove(series->rates, series->rates + 1, --count * sizeof(*series->rates));
	series->rates[count] = (uint64_t)((double)more * 1e9 / (double)elapsed_ns + 0.5);
}

void status_history_add(struct status_history *history, const json_t *status)
{
	const json_t *connections = json_object_get(status, "connections");
	uint64_t uptime_ns = (uint64_t)control_integer(status, "uptime_ns");
	uint64_t accepted = (uint64_t)control_integer(connections, "accepted");
	uint64_t bytes_in = (uint64_t)control_integer(connections, "bytes_in") +
			    (uint64_t)control_integer(connections, "live_bytes_in");
	uint64_t elapsed_ns = uptime_ns - history->uptime_ns;

	if (uptime_ns <= history->uptime_ns) {	/* another daemon */
		history->count = 0;
	} else if (history->uptime_ns > 0) {
		add_rate(&history->accepted, history->count, accepted, elapsed_ns);
		add_rate(&history->bytes_in, history->count, bytes_in, elapsed_ns);
		if (history->count < STATUS_HISTORY_MAX)
			history->count++;
	}
	history->uptime_ns = uptime_ns;
	history->accepted.total = accepted;
	history->bytes_in.total = bytes_in;
}

static void draw_history(FILE *stream, const struct status_history *history, unsigned columns,
			 bool utf8)
{
	unsigned room = columns > MARGIN ? columns - MARGIN : 0;
	const uint64_t *accepted = history->accepted.rates;
	const uint64_t *bytes_in = history->bytes_in.rates;
	unsigned count = history->count;
	char now[UNITS_TEXT_MAX], peak[UNITS_TEXT_MAX];

	if (count == 0)
		return;
	room = count < room ? count : room;	/* the last ones */
	fprintf(stream, "\nnew/s        %" PRIu64 ", at most %" PRIu64 " in the last %u s\n",
		accepted[count - 1], most_of(accepted, count), count);
	fprintf(stream, "%*s", MARGIN, "");
	status_curve(stream, accepted + count - room, room, utf8);
	fprintf(stream, "\nbytes/s      %s, at most %s\n",
		units_bytes((double)bytes_in[count - 1], now),
		units_bytes((double)most_of(bytes_in, count), peak));
	fprintf(stream, "%*s", MARGIN, "");
	status_curve(stream, bytes_in + count - room, room, utf8);
	fputc('\n', stream);
}

void status_screen_draw(FILE *stream, const json_t *status, const struct status_history *history,
			unsigned columns, bool utf8)
{
	bool wide = columns >= WIDTH_WITH_ALL;

	draw_head(stream, status);
	draw_connections(stream, json_object_get(status, "connections"), wide, utf8);
	draw_datagrams(stream, status);
	draw_health(stream, status);
	draw_generations(stream, json_object_get(status, "generations"), wide);
	draw_history(stream, history, columns, utf8);
}
