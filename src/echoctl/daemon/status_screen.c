/* SPDX-License-Identifier: MIT */
/* Layout of the status screen, 80 columns. */
#include "echoctl/daemon/status_screen.h"

#include <inttypes.h>
#include <time.h>

#include "echoctl/output/progress.h"

#define BAR_COLUMNS 30
#define SECONDS_MAX 60

static const char *const levels[] = {
	"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
};

const char *status_age(uint64_t age_ns, char text[STATUS_AGE_MAX])
{
	uint64_t s = age_ns / 1000000000;

	if (s == 0)
		snprintf(text, STATUS_AGE_MAX, "%" PRIu64 " ms", age_ns / 1000000);
	else if (s < 60)
		snprintf(text, STATUS_AGE_MAX, "%" PRIu64 " s", s);
	else if (s < 3600)
		snprintf(text, STATUS_AGE_MAX, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(text, STATUS_AGE_MAX, "%" PRIu64 " h %" PRIu64 " min", s / 3600,
			 s / 60 % 60);
	else
		snprintf(text, STATUS_AGE_MAX, "%" PRIu64 " d %" PRIu64 " h", s / 86400,
			 s / 3600 % 24);
	return text;
}

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

void status_curve(FILE *stream, const uint64_t *values, unsigned count, bool utf8)
{
	static const char *const blocks[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	static const char *const marks[] = { "_", ".", ".", ":", ":", "|", "|", "#" };
	uint64_t most = 0;

	for (unsigned i = 0; i < count; i++)
		if (values[i] > most)
			most = values[i];
	for (unsigned i = 0; i < count; i++) {
		unsigned step = 0;

		if (values[i] > 0)
			step = 1 + (unsigned)((double)values[i] / (double)most * 6);
		fputs(utf8 ? blocks[step] : marks[step], stream);
	}
}

static const char *bytes_text(int64_t bytes, char text[PROGRESS_BYTES_MAX])
{
	return progress_format_bytes((double)bytes, text);
}

static void draw_head(FILE *stream, struct reply *status)
{
	char age[STATUS_AGE_MAX];
	char when[32] = "";
	time_t loaded = (time_t)(reply_integer(status, "settings.loaded_us") / 1000000);
	const char *path = reply_text(status, "settings.path");
	struct tm local;

	fprintf(stream, "echod %s, process %" PRId64 ", up %s%s\n",
		reply_text(status, "program_version"), reply_integer(status, "pid"),
		status_age((uint64_t)reply_integer(status, "uptime_ns"), age),
		reply_flag(status, "draining") ? ", DRAINING" :
		reply_flag(status, "reloading") ? ", reloading" : "");
	if (localtime_r(&loaded, &local))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local);
	fprintf(stream, "settings     %s, in force since %s\n", *path ? path : "defaults", when);
	fprintf(stream, "listening    ");
	for (size_t i = 0; i < reply_count(status, "sockets"); i++) {
		struct reply *socket = reply_item(status, "sockets", i);

		fprintf(stream, "%s%s%s", i ? ", " : "", reply_text(socket, "address"),
			reply_flag(socket, "passed") ? " (passed)" : "");
	}
	fputs(reply_count(status, "sockets") ? "\n\n" : "nowhere\n\n", stream);
}

struct sum {
	FILE *stream;
	uint64_t total;
	unsigned shown;
};

static void show_counter(void *context, const char *key, int64_t value)
{
	struct sum *sum = context;

	sum->total += (uint64_t)value;
	if (value <= 0 || !sum->stream)
		return;
	fprintf(sum->stream, "%s%s %" PRId64, sum->shown++ ? ", " : "", key, value);
}

/* The counters that are not zero. */
static void draw_counters(FILE *stream, const char *title, struct reply *status,
			  const char *path)
{
	struct sum sum = { stream, 0, 0 };

	fprintf(stream, "%-13s", title);
	reply_each(status, path, show_counter, &sum);
	fputs(sum.shown ? "\n" : "none\n", stream);
}

static uint64_t total(struct reply *status, const char *path)
{
	struct sum sum = { NULL, 0, 0 };

	reply_each(status, path, show_counter, &sum);
	return sum.total;
}

static void draw_connections(FILE *stream, struct reply *status, bool utf8)
{
	uint64_t live = (uint64_t)reply_integer(status, "connections.live");
	uint64_t max = (uint64_t)reply_integer(status, "connections.max");
	char in[PROGRESS_BYTES_MAX], out[PROGRESS_BYTES_MAX];

	fprintf(stream, "connections  %" PRIu64 " of %" PRIu64 " ", live, max);
	status_bar(stream, live, max, BAR_COLUMNS, utf8);
	fprintf(stream, " %.1f%%\n", max ? 100 * (double)live / (double)max : 0);
	fprintf(stream, "since start  %" PRId64 " accepted, %" PRIu64 " served, %" PRIu64
		" refused, %" PRId64 " without a byte\n",
		reply_integer(status, "connections.accepted"), total(status, "connections.closed"),
		total(status, "connections.refused"), reply_integer(status, "connections.empty"));
	fprintf(stream, "bytes        %s in, %s out",
		bytes_text(reply_integer(status, "connections.bytes_in"), in),
		bytes_text(reply_integer(status, "connections.bytes_out"), out));
	fprintf(stream, "; live ones %s in, %s out\n",
		bytes_text(reply_integer(status, "connections.live_bytes_in"), in),
		bytes_text(reply_integer(status, "connections.live_bytes_out"), out));
	draw_counters(stream, "ended by", status, "connections.closed");
	draw_counters(stream, "refused by", status, "connections.refused");
}

static void draw_health(FILE *stream, struct reply *status)
{
	int64_t level = reply_integer(status, "log_level");

	fprintf(stream, "log          level %s, %" PRId64 " lines suppressed, %" PRId64 " lost, %"
		PRId64 " events dropped\n",
		level >= 0 && level < (int64_t)(sizeof(levels) / sizeof(*levels)) ?
			levels[level] : "unknown",
		reply_integer(status, "log_suppressed"), reply_integer(status, "log_lost"),
		reply_integer(status, "events_dropped"));
	fprintf(stream, "listener     restarted %" PRId64 " times, starved %" PRId64 " times\n\n",
		reply_integer(status, "listener_restarts"), reply_integer(status, "starved"));
}

static void draw_generations(FILE *stream, struct reply *status)
{
	char age[STATUS_AGE_MAX];

	fprintf(stream, "generation  state     age           listener     live    limit\n");
	for (size_t i = 0; i < reply_count(status, "generations"); i++) {
		struct reply *item = reply_item(status, "generations", i);

		fprintf(stream, "%10" PRId64 "  %-9s %-12s %9" PRId64 " %8" PRId64 " %8" PRId64
			"\n", reply_integer(item, "number"), reply_text(item, "state"),
			status_age((uint64_t)reply_integer(item, "age_ns"), age),
			reply_integer(item, "listener_pid"), reply_integer(item, "live"),
			reply_integer(item, "connections_max"));
	}
	fputc('\n', stream);
}

/* Returns how many seconds there are; the newest is the last. */
static unsigned history(struct reply *status, const char *path,
			uint64_t ret_values[SECONDS_MAX], uint64_t *ret_most)
{
	size_t count = reply_count(status, path);
	size_t first = count > SECONDS_MAX ? count - SECONDS_MAX : 0;

	*ret_most = 0;
	for (size_t i = first; i < count; i++) {
		uint64_t value = (uint64_t)reply_item_integer(status, path, i);

		ret_values[i - first] = value;
		if (value > *ret_most)
			*ret_most = value;
	}
	return (unsigned)(count - first);
}

static void draw_history(FILE *stream, struct reply *status, bool utf8)
{
	uint64_t values[SECONDS_MAX] = { 0 }, most;
	char now[PROGRESS_BYTES_MAX], peak[PROGRESS_BYTES_MAX];
	unsigned count = history(status, "history.accepted_per_s", values, &most);

	fprintf(stream, "new/s        %" PRIu64 ", at most %" PRIu64 " in the last %u s\n",
		count ? values[count - 1] : 0, most, count);
	fprintf(stream, "             ");
	status_curve(stream, values, count, utf8);
	count = history(status, "history.bytes_in_per_s", values, &most);
	fprintf(stream, "\nbytes/s      %s, at most %s\n",
		bytes_text(count ? (int64_t)values[count - 1] : 0, now),
		bytes_text((int64_t)most, peak));
	fprintf(stream, "             ");
	status_curve(stream, values, count, utf8);
	fputc('\n', stream);
}

void status_screen_draw(FILE *stream, struct reply *status, bool utf8)
{
	draw_head(stream, status);
	draw_connections(stream, status, utf8);
	draw_health(stream, status);
	draw_generations(stream, status);
	draw_history(stream, status, utf8);
}
