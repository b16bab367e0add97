/* SPDX-License-Identifier: MIT */
/*
 * What is said, and how often. Lines of connections share a window of a second, crashes have
 * one of their own so that a flood of connections never hides them. What repeats (starvation,
 * the connection limit) is said at once, and then at most once in ten seconds with its count.
 */
#include "echod/report/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "echod/log/log.h"
#include "echod/report/line.h"
#include "echod/report/window.h"

#define WINDOW_NS ((uint64_t)CLOCK_NS_PER_S)
#define REPEAT_NS (10 * (uint64_t)CLOCK_NS_PER_S)
#define RETRY_NS (CLOCK_NS_PER_S / 10)	/* for lines that wait for their sink */
#define CRASH_LINES 20u			/* a second */
#define STARVED_KINDS 8u		/* different errno values at a time */

/* Something that happens again and again. */
struct repeated {
	bool is_open;		/* said less than REPEAT_NS ago */
	uint64_t start_ns;
	uint64_t count;		/* since it was said */
	uint32_t value;		/* errno; or 1: the limit was reached, 0: left */
};

struct report {
	enum log_connections connections;
	uint32_t max_per_second;	/* 0 = off */
	uint32_t limit;			/* limits.connections */
	struct report_window lines;
	struct report_window crashes;
	struct repeated starved[STARVED_KINDS];
	struct repeated limit_reached;
	uint64_t suppressed;
};

int report_new(struct report **ret_report)
{
	struct report *report = calloc(1, sizeof(*report));

	if (report == NULL)
		return -ENOMEM;
	report->connections = LOG_CONNECTIONS_CLOSE;
	*ret_report = report;
	return 0;
}

void report_free(struct report *report)
{
	free(report);
}

void report_configure(struct report *report, const struct configuration *configuration)
{
	report->connections = configuration->log.connections;
	report->max_per_second = configuration->log.max_per_second;
	report->limit = configuration->limits.connections;
}

static void write_line(const struct report_line *line)
{
	log_fields(line->priority, line->word, line->fields, line->count);
}

static void add_duration(struct report_line *line, uint64_t duration_ns)
{
	report_line_add(line, "duration", "%" PRIu64 ".%03" PRIu64 "s",
			duration_ns / CLOCK_NS_PER_S, duration_ns % CLOCK_NS_PER_S / 1000000);
}

static void say_suppressed(const char *what, uint64_t lines, uint64_t duration_ns)
{
	struct report_line line = {.priority = LOG_NOTICE, .word = "suppressed"};

	report_line_add(&line, "what", "%s", what);
	report_line_add(&line, "lines", "%" PRIu64, lines);
	add_duration(&line, duration_ns);
	write_line(&line);
}

/* Says what is over; returns when that is to be asked again, UINT64_MAX: nothing is owed. */
static uint64_t flush_window(struct report_window *window, const char *what, uint64_t now_ns)
{
	uint64_t start_ns = window->start_ns;
	uint64_t lines = report_window_close(window, now_ns, WINDOW_NS);

	if (lines > 0)
		say_suppressed(what, lines, now_ns - start_ns);
	return window->left_out > 0 ? window->start_ns + WINDOW_NS : UINT64_MAX;
}

/* duration_ns 0: it has just begun, so no count of the past. */
static void say_starved(const struct repeated *starved, uint64_t duration_ns)
{
	struct report_line line = {.priority = LOG_WARNING, .word = "starved"};

	report_line_add_errno(&line, starved->value);
	report_line_add(&line, "count", "%" PRIu64, starved->count);
	if (duration_ns > 0)
		add_duration(&line, duration_ns);
	write_line(&line);
}

static void say_limit(const struct report *report, const struct repeated *limit,
		      uint64_t duration_ns)
{
	struct report_line line = {
		.priority = limit->value != 0 ? LOG_WARNING : LOG_NOTICE,
		.word = "limit",
	};

	report_line_add(&line, "connections", "%" PRIu32, report->limit);
	report_line_add(&line, "state", "%s", limit->value != 0 ? "reached" : "left");
	if (duration_ns > 0) {
		report_line_add(&line, "count", "%" PRIu64, limit->count);
		add_duration(&line, duration_ns);
	}
	write_line(&line);
}

static void say_repeated(const struct report *report, struct repeated *repeated, uint64_t now_ns,
			 uint64_t duration_ns)
{
	if (repeated == &report->limit_reached)
		say_limit(report, repeated, duration_ns);
	else
		say_starved(repeated, duration_ns);
	repeated->start_ns = now_ns;
	repeated->count = 0;
}

static uint64_t flush_repeated(const struct report *report, struct repeated *repeated,
			       uint64_t now_ns)
{
	if (repeated->is_open && now_ns - repeated->start_ns >= REPEAT_NS) {
		if (repeated->count > 0)
			say_repeated(report, repeated, now_ns, now_ns - repeated->start_ns);
		else
			repeated->is_open = false;
	}
	return repeated->is_open && repeated->count > 0 ? repeated->start_ns + REPEAT_NS :
							  UINT64_MAX;
}

static uint64_t earlier(uint64_t one_ns, uint64_t other_ns)
{
	return one_ns < other_ns ? one_ns : other_ns;
}

uint64_t report_flush(struct report *report, uint64_t now_ns)
{
	uint64_t next_ns = flush_window(&report->lines, "connections", now_ns);

	next_ns = earlier(next_ns, flush_window(&report->crashes, "crashes", now_ns));
	next_ns = earlier(next_ns, flush_repeated(report, &report->limit_reached, now_ns));
	for (size_t i = 0; i < STARVED_KINDS; i++)
		next_ns = earlier(next_ns, flush_repeated(report, &report->starved[i], now_ns));
	if (!log_flush())
		next_ns = earlier(next_ns, now_ns + RETRY_NS);
	return next_ns;
}

static void report_repeated(const struct report *report, struct repeated *repeated, uint32_t value,
			    uint32_t count, uint64_t now_ns)
{
	repeated->value = value;
	repeated->count += count;
	if (repeated->is_open)
		return;
	repeated->is_open = true;
	say_repeated(report, repeated, now_ns, 0);
}

/* More kinds than places: the last place takes them all and names the latest. */
static struct repeated *find_starved(struct report *report, uint32_t error)
{
	struct repeated *place = &report->starved[STARVED_KINDS - 1];

	for (size_t i = STARVED_KINDS; i-- > 0;) {
		if (report->starved[i].is_open && report->starved[i].value == error)
			return &report->starved[i];
		if (!report->starved[i].is_open)
			place = &report->starved[i];
	}
	return place;
}

static void report_connection(struct report *report, const struct event *event,
			      const char *unix_path, uint64_t now_ns)
{
	struct report_window *window = &report->lines;
	uint64_t most = report->max_per_second == 0 ? UINT64_MAX : report->max_per_second;
	int priority = report_line_priority(event);
	struct report_line line;

	if (event->type == EVENT_OPENED && report->connections != LOG_CONNECTIONS_ALL)
		return;
	if (report->connections == LOG_CONNECTIONS_NONE && priority > LOG_WARNING)
		return;
	if (priority > log_level())
		return;
	if (priority <= LOG_ERR) {
		window = &report->crashes;
		most = CRASH_LINES;
	}
	/* formatting costs more than all the rest: only for what is written */
	if (!report_window_admit(window, now_ns, most)) {
		report->suppressed++;
		return;
	}
	report_line_fill(&line, event, unix_path);
	write_line(&line);
}

void report_event_at(struct report *report, const struct event *event, const char *unix_path,
		     uint64_t now_ns)
{
	report_flush(report, now_ns);
	if (event->type == EVENT_STARVED)
		report_repeated(report, find_starved(report, event->detail), event->detail,
				event->count, now_ns);
	else if (event->type == EVENT_LIMIT)
		report_repeated(report, &report->limit_reached, event->count != 0, 1, now_ns);
	else if (event->type == EVENT_OPENED || event->type == EVENT_CLOSED ||
		 event->type == EVENT_REFUSED)
		report_connection(report, event, unix_path, now_ns);
}

void report_event(struct report *report, const struct event *event, const char *unix_path)
{
	report_event_at(report, event, unix_path, clock_now_ns());
}

uint64_t report_suppressed(const struct report *report)
{
	return report->suppressed;
}

void report_resume(struct report *report, uint64_t suppressed)
{
	report->suppressed = suppressed;
}
