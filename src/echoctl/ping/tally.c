/* SPDX-License-Identifier: MIT */
/* Probes counted and reported. */
#include "echoctl/ping/tally.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "echoctl/output/latency.h"

static double ms(double ns)
{
	return ns / 1e6;
}

/* A line about one probe, with the wall clock in front where that was asked for. */
__attribute__((format(printf, 2, 3)))
static void say(struct ping_tally *tally, const char *format, ...)
{
	char stamp[40] = "";
	char text[256];
	struct timespec now;
	va_list arguments;

	if (tally->report->quiet)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (tally->timestamps) {
		clock_gettime(CLOCK_REALTIME, &now);
		snprintf(stamp, sizeof(stamp), "[%lld.%06ld] ", (long long)now.tv_sec,
			 now.tv_nsec / 1000);
	}
	report_text(tally->report, "%s%s\n", stamp, text);
}

static struct record *new_record(const struct ping_tally *tally, uint64_t sequence,
				 const char *result)
{
	struct record *record = record_new("ping_probe");
	struct timespec now;

	record_integer(record, "seq", (int64_t)sequence);
	record_text(record, "result", result);
	if (tally->timestamps) {
		clock_gettime(CLOCK_REALTIME, &now);
		record_integer(record, "unix_ns",
			       (int64_t)now.tv_sec * CLOCK_NS_PER_S + now.tv_nsec);
	}
	return record;
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
	bool late = rtt_ns > tally->late_after_ns;
	struct record *record;
	char connect[48] = "";

	if (late)
		tally->late++;
	else
		tally->ok++;
	count_rtt(tally, rtt_ns);
	record = new_record(tally, reply->probe.sequence, late ? "late" : "ok");
	record_integer(record, "size_bytes", (int64_t)tally->size_bytes);
	if (tally->connects) {
		snprintf(connect, sizeof(connect), "connect=%.3f ms ", ms((double)connect_ns));
		record_integer(record, "connect_ns", (int64_t)connect_ns);
		histogram_record(&tally->connect, connect_ns);
	}
	record_integer(record, "rtt_ns", (int64_t)rtt_ns);
	report_record(tally->report, record);
	say(tally, "%" PRIu64 " bytes from %s: seq=%" PRIu64 " %stime=%.3f ms%s", tally->size_bytes,
	    tally->peer, reply->probe.sequence, connect, ms((double)rtt_ns), late ? " (late)" : "");
}

static void tally_corrupt(struct ping_tally *tally, const struct ping_reply *reply,
			  const char *what)
{
	struct record *record = new_record(tally, reply->probe.sequence, "corrupt");

	tally->corrupt++;
	record_integer(record, "offset_bytes", (int64_t)reply->offset_bytes);
	record_text(record, "why", what);
	report_record(tally->report, record);
	say(tally, "%s: seq=%" PRIu64 " corrupt: %s from offset %zu on", tally->peer,
	    reply->probe.sequence, what, reply->offset_bytes);
}

void ping_tally_reply(struct ping_tally *tally, const struct ping_reply *reply, uint64_t connect_ns)
{
	switch (reply->result) {
	case PING_INTACT:
		tally_intact(tally, reply, connect_ns);
		break;
	case PING_OVERTAKEN:
		ping_tally_lost(tally, reply->probe.sequence, "echo", "a later probe came back");
		break;
	case PING_CORRUPT:
		tally_corrupt(tally, reply, "differs");
		break;
	case PING_SURPLUS:
		tally_corrupt(tally, reply, "more bytes than sent");
		break;
	}
}

static void tally_trouble(struct ping_tally *tally, uint64_t sequence, const char *result,
			  const char *phase, const char *why)
{
	struct record *record = new_record(tally, sequence, result);

	record_text(record, "phase", phase);
	record_text(record, "why", why);
	report_record(tally->report, record);
	say(tally, "%s: seq=%" PRIu64 " %s: %s: %s", tally->peer, sequence, result, phase, why);
}

void ping_tally_lost(struct ping_tally *tally, uint64_t sequence, const char *phase,
		     const char *why)
{
	tally->lost++;
	tally_trouble(tally, sequence, "lost", phase, why);
}

void ping_tally_overdue(struct ping_tally *tally, uint64_t sequence)
{
	tally_trouble(tally, sequence, "overdue", "echo", "no answer in time, still waiting");
}

void ping_tally_unsent(struct ping_tally *tally, uint64_t sequence, const char *why)
{
	tally->unsent++;
	tally_trouble(tally, sequence, "unsent", "send", why);
}

void ping_tally_broken(struct ping_tally *tally, const char *phase, int error, const char *why)
{
	struct record *record = record_new("error");
	bool by_peer = error == -ENODATA || error == -EBADMSG;

	tally->broken = why;
	report_error(tally->report, "%s: %s: %s", tally->peer, phase, why);
	record_text(record, "host", tally->host);
	record_text(record, "address", tally->peer);
	record_text(record, "phase", phase);
	record_text(record, "errno", by_peer ? NULL : strerrorname_np(-error));
	record_text(record, "message", why);
	report_record(tally->report, record);
}

static double jitter_ns(const struct ping_tally *tally)
{
	return tally->rtt.count > 1 ? tally->jitter_sum_ns / (double)(tally->rtt.count - 1) : 0;
}

static void record_summary(struct ping_tally *tally, bool final, uint64_t elapsed_ns,
			   uint64_t waiting)
{
	struct record *record = record_new("ping_summary");

	record_flag(record, "final", final);
	record_text(record, "peer", tally->peer);
	record_integer(record, "size_bytes", (int64_t)tally->size_bytes);
	record_integer(record, "duration_ns", (int64_t)elapsed_ns);
	record_integer(record, "sent", (int64_t)tally->sent);
	record_integer(record, "ok", (int64_t)tally->ok);
	record_integer(record, "lost", (int64_t)tally->lost);
	record_integer(record, "corrupt", (int64_t)tally->corrupt);
	record_integer(record, "late", (int64_t)tally->late);
	record_integer(record, "unsent", (int64_t)tally->unsent);
	record_integer(record, "waiting", (int64_t)waiting);
	record_text(record, "broken", tally->broken);
	record_attach(record, "rtt", latency_record(&tally->rtt));
	record_real(record, "jitter_ns", round(jitter_ns(tally)));
	if (tally->connects)
		record_attach(record, "connect", latency_record(&tally->connect));
	report_record(tally->report, record);
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
	uint64_t waiting = tally->sent - tally->ok - tally->lost - tally->corrupt - tally->late;

	record_summary(tally, final, elapsed_ns, waiting);
	report_text(tally->report, "\n--- %s echo statistics ---\n", tally->peer);
	report_text(tally->report, "%" PRIu64 " sent, %" PRIu64 " ok, %" PRIu64 " lost, %" PRIu64
		    " corrupt, %" PRIu64 " late", tally->sent, tally->ok, tally->lost,
		    tally->corrupt, tally->late);
	if (tally->unsent > 0)
		report_text(tally->report, ", %" PRIu64 " could not be sent", tally->unsent);
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
	return tally->ok > 0 && !tally->broken &&
		tally->lost + tally->corrupt + tally->late + tally->unsent == 0;
}
