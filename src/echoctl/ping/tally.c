/* SPDX-License-Identifier: MIT */
/* Results of the probes: reported one by one, counted, and summed up. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "echoctl/ping/ping.h"

static const char *const headings[] = {
	"TARGET", ">SENT", ">OK", ">LOST", "->CORRUPT", "->LATE", "->MIN", "->AVG", ">P99", "->MAX",
	"BROKEN",
};
#define COLUMNS (sizeof(headings) / sizeof(*headings))

static const char *const result_names[PING_RESULTS] = {
	[PING_OK] = "ok",
	[PING_LATE] = "late",
	[PING_LOST] = "lost",
	[PING_CORRUPT] = "corrupt",
	[PING_CUT] = "cut",
	[PING_MERGED] = "merged",
	[PING_UNREACHABLE] = "unreachable",
	[PING_DUPLICATE] = "duplicate",
	[PING_REFUSED] = "refused",
	[PING_UNSENT] = "unsent",
	[PING_OVERDUE] = "overdue",
};

static double ms(double ns)
{
	return ns / 1e6;
}

/* The row of a probe, once its result is final, at the time when it was sent. */
static void add_to_series(struct ping *ping, const struct ping_probe *probe,
			  enum ping_result result, const json_t *rtt_ns)
{
	char rtt_ms[32] = "";

	if (result == PING_OVERDUE || result == PING_DUPLICATE)
		return;
	if (rtt_ns)
		snprintf(rtt_ms, sizeof(rtt_ms), "%.6f", ms((double)json_integer_value(rtt_ns)));
	series_add(ping->series, probe->sent_ns, ping->named->text, "%" PRIu64 ",%s,%s",
		   probe->sequence, result_names[result], rtt_ms);
}

/* Reports one probe: for programs with these details, which are freed, for people in a line. */
__attribute__((format(printf, 5, 6)))
static void tell(struct ping *ping, const struct ping_probe *probe, enum ping_result result,
		 json_t *details, const char *format, ...)
{
	json_t *event;
	char stamp[40] = "";
	char text[256];
	struct timespec now;
	va_list arguments;

	add_to_series(ping, probe, result, json_object_get(details, "rtt_ns"));
	if (ping->report->quiet) {
		json_decref(details);
		return;
	}
	event = json_pack("{s:s, s:I, s:s}", "event", "ping_probe", "seq",
			  (json_int_t)probe->sequence, "result", result_names[result]);
	if (ping->udp)
		json_object_set_new(event, "protocol", json_string("udp"));
	if (ping->timestamps) {
		clock_gettime(CLOCK_REALTIME, &now);
		json_object_set_new(event, "unix_ns", json_integer(
			(json_int_t)now.tv_sec * CLOCK_NS_PER_S + now.tv_nsec));
		snprintf(stamp, sizeof(stamp), "[%lld.%06ld] ", (long long)now.tv_sec,
			 now.tv_nsec / 1000);
	}
	json_object_update_new(event, details);
	report_json(ping->report, event);
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	report_outcome(ping->report, result != PING_OK, "%s%s\n", stamp, text);
}

void ping_tally_head(struct ping *ping)
{
	report_text(ping->report, "PING %s (%s): %" PRIu64 " bytes%s\n", ping->named->text,
		    ping->peer, ping->size_bytes, ping->udp ? ", UDP" : "");
}

static void count_rtt(struct ping *ping, uint64_t rtt_ns)
{
	if (ping->rtt.count > 0)
		ping->jitter_sum_ns += fabs((double)rtt_ns - (double)ping->last_rtt_ns);
	ping->last_rtt_ns = rtt_ns;
	histogram_record(&ping->rtt, rtt_ns);
}

static void tally_intact(struct ping *ping, const struct ping_reply *reply, uint64_t connect_ns)
{
	uint64_t rtt_ns = reply->rtt_ns;
	/* Not if the kernel tells when it came, which it does for UDP. */
	uint64_t stopped_ns = rtt_ns >= reply->probe.stopped_ns ? reply->probe.stopped_ns : 0;
	bool late = rtt_ns - stopped_ns > ping->late_us * 1000;
	enum ping_result result = late ? PING_LATE : PING_OK;
	json_t *details = json_pack("{s:I, s:I}", "size_bytes",
				    (json_int_t)ping->size_bytes,
				    stopped_ns > 0 ? "stopped_ns" : "rtt_ns",
				    (json_int_t)(stopped_ns > 0 ? stopped_ns : rtt_ns));
	char connect[48] = "";
	char time[64] = "came while ping was stopped";

	ping->counts[result]++;
	/* It came while we were stopped: when is unknown. */
	if (stopped_ns == 0) {
		count_rtt(ping, rtt_ns);
		snprintf(time, sizeof(time), "time=%.3f ms", ms((double)rtt_ns));
	}
	if (ping->reconnect) {
		snprintf(connect, sizeof(connect), "connect=%.3f ms ", ms((double)connect_ns));
		json_object_set_new(details, "connect_ns", json_integer((json_int_t)connect_ns));
		histogram_record(&ping->connect, connect_ns);
	}
	if (reply->reordered)
		json_object_set_new(details, "reordered", json_true());
	tell(ping, &reply->probe, result, details,
	     "%" PRIu64 " bytes from %s: seq=%" PRIu64 " %s%s%s%s", ping->size_bytes, ping->peer,
	     reply->probe.sequence, connect, time, late ? " (late)" : "",
	     reply->reordered ? " (reordered)" : "");
}

void ping_tally_missing(struct ping *ping, enum ping_result result, const struct ping_probe *probe,
			const char *phase, const char *why)
{
	ping->counts[result]++;
	tell(ping, probe, result, json_pack("{s:s, s:s}", "phase", phase, "why", why),
	     "%s: seq=%" PRIu64 " %s: %s: %s", ping->peer, probe->sequence, result_names[result],
	     phase, why);
}

/* An ICMP error came back, or the echo once more. */
static void tally_special(struct ping *ping, const struct ping_reply *reply)
{
	const struct datagram_event *event = reply->event;
	uint64_t sequence = reply->probe.sequence;

	ping->counts[reply->result]++;
	if (reply->result == PING_DUPLICATE)
		tell(ping, &reply->probe, PING_DUPLICATE,
		     json_pack("{s:I}", "rtt_ns", (json_int_t)reply->rtt_ns),
		     "%s: seq=%" PRIu64 " duplicate: came back once more", ping->peer, sequence);
	else
		tell(ping, &reply->probe, PING_UNREACHABLE,
		     json_pack("{s:s, s:s, s:i, s:i}", "phase", "echo", "why", reply->why,
			       "icmp_type", event->type, "icmp_code", event->code),
		     "%s: seq=%" PRIu64 " unreachable: %s", ping->peer, sequence, reply->why);
}

void ping_tally_reply(struct ping *ping, const struct ping_reply *reply, uint64_t connect_ns)
{
	uint64_t sequence = reply->probe.sequence;

	assert(reply->result == PING_OK || reply->why);
	switch (reply->result) {
	case PING_OK:
		tally_intact(ping, reply, connect_ns);
		break;
	case PING_LOST:
		ping_tally_missing(ping, PING_LOST, &reply->probe, "echo", reply->why);
		break;
	case PING_DUPLICATE:
	case PING_UNREACHABLE:
		tally_special(ping, reply);
		break;
	default:
		ping->counts[reply->result]++;
		tell(ping, &reply->probe, reply->result,
		     json_pack("{s:I, s:s}", "offset_bytes", (json_int_t)reply->offset_bytes,
			       "why", reply->why),
		     "%s: seq=%" PRIu64 " %s: %s from offset %zu on", ping->peer, sequence,
		     result_names[reply->result], reply->why, reply->offset_bytes);
	}
}

void ping_tally_broken(struct ping *ping, const char *phase, int error, const char *why)
{
	bool by_peer = error == -ENODATA || error == -EBADMSG;

	ping->broken = why;
	report_error(ping->report, "%s: %s: %s", ping->peer, phase, why);
	report_failure(ping->report, ping->named->spec.host, ping->peer, phase,
		       by_peer ? 0 : -error, why);
}

static double jitter_ns(const struct ping *ping)
{
	if (ping->udp)
		return ping->flow.order.jitter_ns;
	return ping->rtt.count > 1 ? ping->jitter_sum_ns / (double)(ping->rtt.count - 1) : 0;
}

/* Adds the fields of UDP. */
static void add_udp(const struct ping *ping, json_t *event)
{
	json_object_update_new(event, json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:I}", "protocol", "udp",
		"cut", (json_int_t)ping->counts[PING_CUT],
		"merged", (json_int_t)ping->counts[PING_MERGED],
		"unreachable", (json_int_t)ping->counts[PING_UNREACHABLE],
		"refused", (json_int_t)ping->counts[PING_REFUSED],
		"duplicates", (json_int_t)ping->counts[PING_DUPLICATE]));
	json_object_update_new(event, ping_flow_json(&ping->flow));
}

static void emit_summary(struct ping *ping, bool final, uint64_t elapsed_ns, uint64_t waiting)
{
	json_t *event = json_pack(
		"{s:s, s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s?, s:o, s:f}",
		"event", "ping_summary",
		"final", final,
		"peer", report_string(ping->peer),
		"size_bytes", (json_int_t)ping->size_bytes,
		"duration_ns", (json_int_t)elapsed_ns,
		"sent", (json_int_t)ping->sent,
		"ok", (json_int_t)ping->counts[PING_OK],
		"lost", (json_int_t)ping->counts[PING_LOST],
		"corrupt", (json_int_t)ping->counts[PING_CORRUPT],
		"late", (json_int_t)ping->counts[PING_LATE],
		"unsent", (json_int_t)ping->counts[PING_UNSENT],
		"waiting", (json_int_t)waiting,
		"broken", ping->broken,
		"rtt", histogram_json(&ping->rtt),
		"jitter_ns", round(jitter_ns(ping)));

	if (ping->reconnect)
		json_object_set_new(event, "connect", histogram_json(&ping->connect));
	if (ping->udp)
		add_udp(ping, event);
	report_json(ping->report, event);
}

static void print_times(struct ping *ping, const char *name, const struct histogram *histogram)
{
	if (histogram->count == 0)
		return;
	report_text(ping->report, "%s min/avg/max/mdev %.3f/%.3f/%.3f/%.3f ms\n", name,
		    ms((double)histogram->min_ns), ms(histogram->mean_ns),
		    ms((double)histogram->max_ns), ms(histogram_deviation(histogram)));
	report_text(ping->report, "%s p50/p90/p99/p99.9 %.3f/%.3f/%.3f/%.3f ms\n", name,
		    ms((double)histogram_percentile(histogram, 50)),
		    ms((double)histogram_percentile(histogram, 90)),
		    ms((double)histogram_percentile(histogram, 99)),
		    ms((double)histogram_percentile(histogram, 99.9)));
}

/* Prints a count of probes or answers unless it is zero. */
static void print_count(struct ping *ping, uint64_t count, const char *what)
{
	if (count > 0)
		report_text(ping->report, ", %" PRIu64 " %s", count, what);
}

/* The number of sent probes that have a result. */
static uint64_t count_settled(const struct ping *ping)
{
	uint64_t settled = 0;

	for (enum ping_result i = PING_OK; i < PING_DUPLICATE; i++)
		settled += ping->counts[i];
	return settled;
}

/* The same in a row of the table of several targets. */
static void add_row(const struct ping *ping, struct libscols_table *table)
{
	const uint64_t counts[] = {
		ping->sent, ping->counts[PING_OK],
		ping->counts[PING_LOST] + ping->counts[PING_UNREACHABLE],
		ping->counts[PING_CORRUPT] + ping->counts[PING_CUT] + ping->counts[PING_MERGED],
		ping->counts[PING_LATE],
	};
	const double times_ns[] = {
		(double)ping->rtt.min_ns, ping->rtt.mean_ns,
		(double)histogram_percentile(&ping->rtt, 99), (double)ping->rtt.max_ns,
	};
	const size_t n_counts = sizeof(counts) / sizeof(*counts);
	const size_t n_times = sizeof(times_ns) / sizeof(*times_ns);
	const char *cells[COLUMNS] = { ping->named->text };
	char texts[COLUMNS][32] = {0};

	for (size_t i = 0; i < n_counts; i++)
		snprintf(texts[1 + i], sizeof(*texts), "%" PRIu64, counts[i]);
	for (size_t i = 0; i < n_times && ping->rtt.count > 0; i++)
		snprintf(texts[1 + n_counts + i], sizeof(*texts), "%.3f ms", ms(times_ns[i]));
	for (size_t i = 1; i < COLUMNS - 1; i++)
		cells[i] = texts[i];
	cells[COLUMNS - 1] = ping->broken ? ping->broken : "";
	table_add(table, cells, COLUMNS);
}

void ping_tally_summary(struct ping *ping, bool final, struct libscols_table *table)
{
	uint64_t elapsed_ns = clock_now_ns() - ping->started_ns;
	uint64_t waiting = ping->sent - count_settled(ping);

	emit_summary(ping, final, elapsed_ns, waiting);
	if (table) {
		add_row(ping, table);
		return;
	}
	report_text(ping->report, "\n--- %s echo statistics ---\n", ping->peer);
	report_text(ping->report, "%" PRIu64 " sent, %" PRIu64 " ok, %" PRIu64 " lost, %" PRIu64
		    " corrupt, %" PRIu64 " late", ping->sent, ping->counts[PING_OK],
		    ping->counts[PING_LOST], ping->counts[PING_CORRUPT],
		    ping->counts[PING_LATE]);
	print_count(ping, ping->counts[PING_CUT], "cut");
	print_count(ping, ping->counts[PING_MERGED], "merged");
	print_count(ping, ping->counts[PING_UNREACHABLE], "unreachable");
	print_count(ping, ping->counts[PING_DUPLICATE], "duplicates");
	print_count(ping, ping->counts[PING_REFUSED], "refused by this machine's interface");
	print_count(ping, ping->counts[PING_UNSENT], "could not be sent");
	print_count(ping, waiting, final ? "not waited for" : "on the way");
	report_text(ping->report, " in %.3f s\n", (double)elapsed_ns / 1e9);
	print_times(ping, "rtt", &ping->rtt);
	if (ping->rtt.count > 1)
		report_text(ping->report, "jitter %.3f ms\n", ms(jitter_ns(ping)));
	print_times(ping, "connect", &ping->connect);
	ping_flow_print(&ping->flow, ping->report);
}

bool ping_judge(const struct ping *ping)
{
	uint64_t back = ping->counts[PING_OK] + ping->counts[PING_LATE];
	uint64_t failed = count_settled(ping) - back + ping->counts[PING_REFUSED] +
		ping->counts[PING_UNSENT];
	const struct require_measured measured = {
		.latency = &ping->rtt, .failed = failed, .total = back + failed,
	};
	bool holds = require_judge(&ping->require, &measured, ping->report);

	if (!ping->require.has_loss)
		holds &= ping->counts[PING_OK] > 0 && ping->counts[PING_LATE] == 0 && failed == 0;
	return holds && !ping->broken;
}

struct libscols_table *ping_table_new(void)
{
	return table_new(headings, COLUMNS);
}
