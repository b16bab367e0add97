/* SPDX-License-Identifier: MIT */
/*
 * Which events are logged, and how often. Lines of connections and lines of crashes have a window
 * of a second each; at its end one line says how many were left out. Events that repeat
 * (starvation, the connection limit) are logged at once, and then at most once in ten seconds with
 * their count.
 */
#include "echod/report/report.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "echod/log/log.h"

#define WINDOW_NS ((uint64_t)CLOCK_NS_PER_S)
#define REPEAT_NS (10 * (uint64_t)CLOCK_NS_PER_S)
#define RETRY_NS (CLOCK_NS_PER_S / 10)	/* for lines that wait for their sink */
#define CRASH_LINES 20u			/* a second */

static const char *const end_names[] = END_NAMES;
static const char *const refuse_names[] = REFUSE_NAMES;

void report_configure(struct report *report, const struct configuration *configuration)
{
	report->connections = configuration->log.connections;
	report->max_per_second = configuration->log.max_per_second;
}

const char *report_peer(const struct endpoint *peer, char text[ADDRESS_TEXT_MAX])
{
	struct sockaddr_in6 address = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(peer->port),
		.sin6_scope_id = peer->scope,
	};
	pid_t pid;
	uid_t uid;

	if (endpoint_address(peer, address.sin6_addr.s6_addr))
		return address_format((const struct sockaddr *)&address, sizeof(address), text);
	if (peer->family != ENDPOINT_UNIX)
		return strcpy(text, "unknown");
	memcpy(&pid, peer->address, sizeof(pid));
	memcpy(&uid, peer->address + sizeof(pid), sizeof(uid));
	snprintf(text, ADDRESS_TEXT_MAX, "unix:pid=%d,uid=%u", (int)pid, (unsigned)uid);
	return text;
}

const char *report_local(const struct endpoint *local, const char *unix_path,
			 char text[ADDRESS_TEXT_MAX])
{
	if (local->family != ENDPOINT_UNIX)
		return report_peer(local, text);
	snprintf(text, ADDRESS_TEXT_MAX, "unix:%s", unix_path ? unix_path : "");
	return text;
}

static void add_seconds(struct log_record *record, const char *name, uint64_t us)
{
	log_record_add(record, name, "%" PRIu64 ".%03" PRIu64 "s", us / CLOCK_US_PER_S,
		       us % CLOCK_US_PER_S / 1000);
}

/* SIGSYS has one cause here, the sandbox: the line says so. */
static void add_signal(struct log_record *record, int status)
{
	const char *name;
	int number;

	if (!WIFSIGNALED(status))
		return;
	number = WTERMSIG(status);
	name = sigabbrev_np(number);
	if (name)
		log_record_add(record, "signal", "%s", name);
	else
		log_record_add(record, "signal", "%d", number);
	if (number == SIGSYS)
		log_record_add(record, "cause", "forbidden system call");
}

/*
 * Info. Debug if the peer ended the connection before a byte came (a health check); warning if an
 * error ended it, or a signal its worker; error for a crash.
 */
static int priority_of(const struct event *event)
{
	bool is_empty = event->bytes_in == 0 && event->bytes_out == 0 && event->count == 0;

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

static void fill_closed(struct log_record *record, const struct event *event)
{
	log_record_add(record, "bytes-in", "%" PRIu64, event->bytes_in);
	log_record_add(record, "bytes-out", "%" PRIu64, event->bytes_out);
	add_seconds(record, "duration", event_duration_us(event));
	add_seconds(record, "cpu", event->cpu_us);
	log_record_add(record, "end", "%s",
		       event->reason < END_COUNT ? end_names[event->reason] : "unknown");
	add_signal(record, event->status);
	if (event->reason == END_ERROR && event->detail != 0)
		log_record_add_errno(record, event->detail);
	if (event->local.family == ENDPOINT_UNIX)
		return;
	if (event->rtt_us != 0)
		log_record_add(record, "rtt", "%" PRIu32 ".%03" PRIu32 "ms", event->rtt_us / 1000,
			       event->rtt_us % 1000);
	log_record_add(record, "retransmits", "%" PRIu32, event->retransmits);
}

void report_fill(struct log_record *record, const struct event *event, const char *unix_path)
{
	const char *word = event->type == EVENT_CLOSED ? "closed" :
			   event->type == EVENT_OPENED ? "opened" : "refused";
	char text[ADDRESS_TEXT_MAX];

	assert(event->type >= EVENT_OPENED && event->type <= EVENT_REFUSED);
	log_record_begin(record, priority_of(event), word);
	log_record_add(record, "peer", "%s", report_peer(&event->peer, text));
	if (event->via.family != ENDPOINT_NONE)
		log_record_add(record, "via", "%s", report_peer(&event->via, text));
	if (event->unique_id.size > 0 && event->unique_id.size <= UNIQUE_ID_MAX)
		log_record_add_bytes(record, "unique-id", event->unique_id.bytes,
				     event->unique_id.size);
	log_record_add(record, "local", "%s", report_local(&event->local, unix_path, text));
	if (event->is_multipath)
		log_record_add(record, "mptcp", "yes");
	if (event->type == EVENT_REFUSED) {
		log_record_add(record, "reason", "%s", event->reason < REFUSE_COUNT ?
			       refuse_names[event->reason] : "unknown");
		return;
	}
	if (event->pid != 0)
		log_record_add(record, "worker", "%" PRId32, event->pid);
	if (event->type == EVENT_CLOSED)
		fill_closed(record, event);
}

/*
 * Logs the line of a window: that an event has begun to repeat (duration_ns 0), or how often it
 * came in a window that is over.
 */
static void say(const struct report *report, enum report_about about, uint64_t count,
		uint64_t duration_ns)
{
	const struct report_window *window = &report->windows[about];
	struct log_record record;

	if (about >= REPORT_STARVED) {
		log_record_begin(&record, LOG_WARNING, "starved");
		log_record_add_errno(&record, window->detail);
		log_record_add(&record, "count", "%" PRIu64, count);
	} else if (about == REPORT_LIMIT) {
		log_record_begin(&record, window->is_reached ? LOG_WARNING : LOG_NOTICE, "limit");
		log_record_add(&record, "connections", "%" PRIu32, window->detail);
		log_record_add(&record, "state", "%s", window->is_reached ? "reached" : "left");
		if (duration_ns > 0)
			log_record_add(&record, "count", "%" PRIu64, count);
	} else {
		log_record_begin(&record, LOG_NOTICE, "suppressed");
		log_record_add(&record, "what", "%s",
			       about == REPORT_CRASHES ? "crashes" : "connections");
		log_record_add(&record, "lines", "%" PRIu64, count);
	}
	if (duration_ns > 0)
		add_seconds(&record, "duration", duration_ns / 1000);
	log_record(&record);
}

/* Returns true if a line may be written; otherwise counts it and returns false. */
static bool admit(struct report_window *window, uint64_t most, uint32_t count, uint64_t now_ns)
{
	if (window->admitted == 0)
		window->start_ns = now_ns;
	if (window->admitted < most) {
		window->admitted++;
		return true;
	}
	window->left_out += count;
	return false;
}

/* Returns when to look at the window again. An event that repeats opens the next one at once. */
static uint64_t flush_window(struct report *report, enum report_about about, uint64_t now_ns)
{
	struct report_window *window = &report->windows[about];
	bool repeats = about >= REPORT_LIMIT;
	uint64_t end_ns = window->start_ns + (repeats ? REPEAT_NS : WINDOW_NS);
	uint64_t left_out = window->left_out;

	if (window->admitted == 0)
		return UINT64_MAX;
	if (now_ns < end_ns)
		return left_out > 0 ? end_ns : UINT64_MAX;
	if (left_out > 0)
		say(report, about, left_out, now_ns - window->start_ns);
	window->admitted = left_out > 0 && repeats ? 1 : 0;
	window->left_out = 0;
	window->start_ns = now_ns;
	return UINT64_MAX;
}

uint64_t report_flush(struct report *report, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX, wanted_ns;

	for (unsigned i = 0; i < REPORT_WINDOWS; i++) {
		wanted_ns = flush_window(report, i, now_ns);
		if (wanted_ns < next_ns)
			next_ns = wanted_ns;
	}
	if (!log_flush() && now_ns + RETRY_NS < next_ns)
		next_ns = now_ns + RETRY_NS;
	return next_ns;
}

/* If there are more kinds than places, the last place takes the rest and names the latest. */
static enum report_about find_starved(const struct report *report, uint32_t error)
{
	unsigned place = REPORT_WINDOWS - 1;

	for (unsigned i = REPORT_WINDOWS; i-- > REPORT_STARVED;) {
		if (report->windows[i].admitted > 0 && report->windows[i].detail == error)
			return i;
		if (report->windows[i].admitted == 0)
			place = i;
	}
	return place;
}

/*
 * The limit is that of the listener: an older one may have another limit than the settings in
 * force.
 */
static void report_repeated(struct report *report, const struct event *event, uint64_t now_ns)
{
	bool is_limit = event->type == EVENT_LIMIT;
	enum report_about about = is_limit ? REPORT_LIMIT : find_starved(report, event->detail);
	uint32_t count = is_limit ? 1 : event->count;

	report->windows[about].detail = event->detail;
	report->windows[about].is_reached = is_limit && event->count != 0;
	if (admit(&report->windows[about], 1, count, now_ns))
		say(report, about, count, 0);
}

static void report_connection(struct report *report, const struct event *event,
			      const char *unix_path, uint64_t now_ns)
{
	uint64_t most = report->max_per_second == 0 ? UINT64_MAX : report->max_per_second;
	int priority = priority_of(event);
	bool is_crash = priority <= LOG_ERR;
	struct log_record record;

	if (event->type == EVENT_OPENED && report->connections != LOG_CONNECTIONS_ALL)
		return;
	if (report->connections == LOG_CONNECTIONS_NONE && priority > LOG_WARNING)
		return;
	if (priority > log_level())
		return;
	/* formatting is the dearest part: only for lines that are written */
	if (!admit(&report->windows[is_crash ? REPORT_CRASHES : REPORT_CONNECTIONS],
		   is_crash ? CRASH_LINES : most, 1, now_ns)) {
		report->suppressed++;
		return;
	}
	report_fill(&record, event, unix_path);
	log_record(&record);
}

void report_event(struct report *report, const struct event *event, const char *unix_path,
		  uint64_t now_ns)
{
	report_flush(report, now_ns);
	if (event->type == EVENT_STARVED || event->type == EVENT_LIMIT)
		report_repeated(report, event, now_ns);
	else if (event->type == EVENT_OPENED || event->type == EVENT_CLOSED ||
		 event->type == EVENT_REFUSED)
		report_connection(report, event, unix_path, now_ns);
}
