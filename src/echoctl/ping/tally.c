/* SPDX-License-Identifier: MIT */
/* Probes counted and reported. */
#include "echoctl/ping/tally.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

static const char *const result_names[PING_RESULTS] = {
	[PING_OK] = "ok",
	[PING_LATE] = "late",
	[PING_LOST] = "lost",
	[PING_CORRUPT] = "corrupt",
	[PING_UNSENT] = "unsent",
	[PING_OVERDUE] = "overdue",
};

static double ms(double ns)
{
	return ns / 1e6;
}

/* What became of one probe: for programs with these details, which are freed; for people a line. */
__attribute__((format(printf, 5, 6)))
static void tell(struct ping_tally *tally, uint64_t sequence, enum ping_result result,
		 json_t *details, const char *format, ...)
{
	json_t *event = json_pack("{s:s, s:I, s:s}", "event", "ping_probe", "seq",
				  (json_int_t)sequence, "result", result_names[result]);
	char stamp[40] = "";
	char text[256];
	struct timespec now;
	va_list arguments;

	if (tally->settings.timestamps) {
		clock_gettime(CLOCK_REALTIME, &now);
		json_object_set_new(event, "unix_ns", json_integer(
			(json_int_t)now.tv_sec * CLOCK_NS_PER_S + now.tv_nsec));
		snprintf(stamp, sizeof(stamp), "[%lld.%06ld] ", (long long)now.tv_sec,
			 now.tv_nsec / 1000);
	}
	json_object_update_new(event, details);
	report_json(tally->report, event);
	if (tally->report->quiet)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	report_text(tally->report, "%s%s\n", stamp, text);
}

static void count_rtt(struct ping_tally *tally, uint64_t rtt_ns)
{
	if (tally->rtt.count > 0)
		tally->jitter_sum_ns += fabs((double)rtt_ns - (double)tally->last_rtt_ns);
	tally->last_rtt_ns = rtt_ns;
	histogram_record(&tally->rtt, rtt_ns);
}

static void tally_intact(struct ping_tally *tally, const struct ping_reply *reply,
			 uint64_t connect_ns)
{
	uint64_t rtt_ns = reply->received_ns - reply->probe.sent_ns;
	bool late = rtt_ns > tally->settings.late_us * 1000;
	enum ping_result result = late ? PING_LATE : PING_OK;
	json_t *details = json_pack("{s:I, s:I}", "size_bytes",
				    (json_int_t)tally->settings.size_bytes,
				    "rtt_ns", (json_int_t)rtt_ns);
	char connect[48] = "";

	tally->counts[result]++;
	count_rtt(tally, rtt_ns);
	if (tally->settings.reconnect) {
		snprintf(connect, sizeof(connect), "connect=%.3f ms ", ms((double)connect_ns));
		json_object_set_new(details, "connect_ns", json_integer((json_int_t)connect_ns));
		histogram_record(&tally->connect, connect_ns);
	}
	tell(tally, reply->probe.sequence, result, details,
	     "%" PRIu64 " bytes from %s: seq=%" PRIu64 " %stime=%.3f ms%s",
	     tally->settings.size_bytes, tally->peer, reply->probe.sequence, connect,
	     ms((double)rtt_ns), late ? " (late)" : "");
}

void ping_tally_reply(struct ping_tally *tally, const struct ping_reply *reply, uint64_t connect_ns)
{
	uint64_t sequence = reply->probe.sequence;

	assert(reply->result == PING_OK || reply->why);
	if (reply->result == PING_OK) {
		tally_intact(tally, reply, connect_ns);
	} else if (reply->result == PING_LOST) {
		ping_tally_missing(tally, PING_LOST, sequence, "echo", reply->why);
	} else {
		tally->counts[reply->result]++;
		tell(tally, sequence, reply->result,
		     json_pack("{s:I, s:s}", "offset_bytes", (json_int_t)reply->offset_bytes,
			       "why", reply->why),
		     "%s: seq=%" PRIu64 " corrupt: %s from offset %zu on", tally->peer, sequence,
		     reply->why, reply->offset_bytes);
	}
}

void ping_tally_missing(struct ping_tally *tally, enum ping_result result, uint64_t sequence,
			const char *phase, const char *why)
{
	tally->counts[result]++;
	tell(tally, sequence, result, json_pack("{s:s, s:s}", "phase", phase, "why", why),
	     "%s: seq=%" PRIu64 " %s: %s: %s", tally->peer, sequence, result_names[result], phase,
	     why);
}

void ping_tally_broken(struct ping_tally *tally, const char *phase, int error, const char *why)
{
	bool by_peer = error == -ENODATA || error == -EBADMSG;

	tally->broken = why;
	report_error(tally->report, "%s: %s: %s", tally->peer, phase, why);
	report_failure(tally->report, tally->host, tally->peer, phase, by_peer ? 0 : -error, why);
}

static double jitter_ns(const struct ping_tally *tally)
{
	return tally->rtt.count > 1 ? tally->jitter_sum_ns / (double)(tally->rtt.count - 1) : 0;
}

static void emit_summary(struct ping_tally *tally, bool final, uint64_t elapsed_ns,
			 uint64_t waiting)
{
	json_t *event = json_pack(
		"{s:s, s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s?, s:o, s:f}",
		"event", "ping_summary",
		"final", final,
		"peer", report_string(tally->peer),
		"size_bytes", (json_int_t)tally->settings.size_bytes,
		"duration_ns", (json_int_t)elapsed_ns,
		"sent", (json_int_t)tally->sent,
		"ok", (json_int_t)tally->counts[PING_OK],
		"lost", (json_int_t)tally->counts[PING_LOST],
		"corrupt", (json_int_t)tally->counts[PING_CORRUPT],
		"late", (json_int_t)tally->counts[PING_LATE],
		"unsent", (json_int_t)tally->counts[PING_UNSENT],
		"waiting", (json_int_t)waiting,
		"broken", tally->broken,
		"rtt", histogram_json(&tally->rtt),
		"jitter_ns", round(jitter_ns(tally)));

	if (tally->settings.reconnect)
		json_object_set_new(event, "connect", histogram_json(&tally->connect));
	report_json(tally->report, event);
}

static void print_times(struct ping_tally *tally, const char *name,
			const struct histogram *histogram)
{
	if (histogram->count == 0)
		return;
	report_text(tally->report, "%s min/avg/max/mdev %.3f/%.3f/%.3f/%.3f ms\n", name,
		    ms((double)histogram->min_ns), ms(histogram->mean_ns),
		    ms((double)histogram->max_ns), ms(histogram_deviation(histogram)));
	report_text(tally->report, "%s p50/p90/p99/p99.9 %.3f/%.3f/%.3f/%.3f ms\n", name,
		    ms((double)histogram_percentile(histogram, 50)),
		    ms((double)histogram_percentile(histogram, 90)),
		    ms((double)histogram_percentile(histogram, 99)),
		    ms((double)histogram_percentile(histogram, 99.9)));
}

void ping_tally_summary(struct ping_tally *tally, bool final)
{
	uint64_t elapsed_ns = clock_now_ns() - tally->started_ns;
	uint64_t waiting = tally->sent - tally->counts[PING_OK] - tally->counts[PING_LATE] -
		tally->counts[PING_LOST] - tally->counts[PING_CORRUPT];

	emit_summary(tally, final, elapsed_ns, waiting);
	report_text(tally->report, "\n--- %s echo statistics ---\n", tally->peer);
	report_text(tally->report, "%" PRIu64 " sent, %" PRIu64 " ok, %" PRIu64 " lost, %" PRIu64
		    " corrupt, %" PRIu64 " late", tally->sent, tally->counts[PING_OK],
		    tally->counts[PING_LOST], tally->counts[PING_CORRUPT],
		    tally->counts[PING_LATE]);
	if (tally->counts[PING_UNSENT] > 0)
		report_text(tally->report, ", %" PRIu64 " could not be sent",
			    tally->counts[PING_UNSENT]);
	if (waiting > 0)
		report_text(tally->report, ", %" PRIu64 " %s", waiting,
			    final ? "not waited for" : "on the way");
	report_text(tally->report, " in %.3f s\n", (double)elapsed_ns / 1e9);
	print_times(tally, "rtt", &tally->rtt);
	if (tally->rtt.count > 1)
		report_text(tally->report, "jitter %.3f ms\n", ms(jitter_ns(tally)));
	print_times(tally, "connect", &tally->connect);
}

bool ping_tally_well(const struct ping_tally *tally)
{
	return tally->counts[PING_OK] > 0 && !tally->broken && tally->counts[PING_LATE] == 0 &&
		tally->counts[PING_LOST] == 0 && tally->counts[PING_CORRUPT] == 0 &&
		tally->counts[PING_UNSENT] == 0;
}
