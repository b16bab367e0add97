/* SPDX-License-Identifier: MIT */
/* Every number here may come from a hostile worker: printed, compared, never an index unchecked. */
#include "echod/report/line.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "echod/report/endpoint_text.h"
#include "wire/end.h"

static const char *const end_names[] = END_NAMES;
static const char *const refuse_names[] = REFUSE_NAMES;

void report_line_add(struct report_line *line, const char *name, const char *format, ...)
{
	va_list arguments;

	if (line->count == REPORT_FIELDS_MAX)
		return;
	va_start(arguments, format);
	vsnprintf(line->values[line->count], REPORT_VALUE_MAX, format, arguments);
	va_end(arguments);
	line->fields[line->count].name = name;
	line->fields[line->count].value = line->values[line->count];
	line->count++;
}

void report_line_add_errno(struct report_line *line, uint32_t error)
{
	const char *name = error > INT_MAX ? NULL : strerrorname_np((int)error);

	if (name == NULL) {
		report_line_add(line, "errno", "%" PRIu32, error);
		return;
	}
	report_line_add(line, "errno", "%s", name);
	report_line_add(line, "error", "%s", strerror((int)error));
}

static void add_endpoints(struct report_line *line, const struct event *event,
			  const char *unix_path)
{
	char text[ADDRESS_TEXT_MAX];

	report_line_add(line, "peer", "%s", endpoint_text_peer(&event->peer, text));
	report_line_add(line, "local", "%s",
			endpoint_text_local(&event->local, &event->peer, unix_path, text));
}

static void add_seconds(struct report_line *line, const char *name, uint64_t us)
{
	report_line_add(line, name, "%" PRIu64 ".%03" PRIu64 "s", us / CLOCK_US_PER_S,
			us % CLOCK_US_PER_S / 1000);
}

/* SIGSYS has one cause here: the sandbox. Say that, not only "signal". */
static void add_signal(struct report_line *line, int status)
{
	const char *name;
	int number;

	if (!WIFSIGNALED(status))
		return;
	number = WTERMSIG(status);
	name = sigabbrev_np(number);
	if (name != NULL)
		report_line_add(line, "signal", "%s", name);
	else
		report_line_add(line, "signal", "%d", number);
	if (number == SIGSYS)
		report_line_add(line, "cause", "forbidden system call");
}

int report_line_priority(const struct event *event)
{
	bool is_empty = event->bytes_in == 0 && event->bytes_out == 0;

	if (event->type != EVENT_CLOSED)
		return LOG_INFO;
	if (event->reason == END_CRASHED)
		return LOG_ERR;
	if (event->reason == END_ERROR || event->reason >= END_COUNT || WIFSIGNALED(event->status))
		return LOG_WARNING;
	if (is_empty && (event->reason == END_FIN || event->reason == END_RESET))
		return LOG_DEBUG;
	return LOG_INFO;
}

static void fill_closed(struct report_line *line, const struct event *event)
{
	uint64_t duration_ns = 0;

	if (event->end_ns > event->start_ns)
		duration_ns = event->end_ns - event->start_ns;
	line->word = "closed";
	report_line_add(line, "worker", "%" PRId32, event->pid);
	report_line_add(line, "bytes-in", "%" PRIu64, event->bytes_in);
	report_line_add(line, "bytes-out", "%" PRIu64, event->bytes_out);
	add_seconds(line, "duration", duration_ns / 1000);
	add_seconds(line, "cpu", event->cpu_us);
	report_line_add(line, "end", "%s",
			event->reason < END_COUNT ? end_names[event->reason] : "unknown");
	add_signal(line, event->status);
	if (event->reason == END_ERROR && event->detail != 0)
		report_line_add_errno(line, event->detail);
	if (event->peer.family == ENDPOINT_UNIX)
		return;
	if (event->rtt_us != 0)
		report_line_add(line, "rtt", "%" PRIu32 ".%03" PRIu32 "ms", event->rtt_us / 1000,
				event->rtt_us % 1000);
	report_line_add(line, "retransmits", "%" PRIu32, event->retransmits);
}

void report_line_fill(struct report_line *line, const struct event *event, const char *unix_path)
{
	line->count = 0;
	line->priority = report_line_priority(event);
	add_endpoints(line, event, unix_path);
	if (event->type == EVENT_CLOSED) {
		fill_closed(line, event);
	} else if (event->type == EVENT_OPENED) {
		line->word = "opened";
		report_line_add(line, "worker", "%" PRId32, event->pid);
	} else {
		line->word = "refused";
		report_line_add(line, "reason", "%s", event->reason < REFUSE_COUNT ?
				refuse_names[event->reason] : "unknown");
	}
}
