/* SPDX-License-Identifier: MIT */
/*
 * The two formats differ in one thing that matters: the name of a counter's family has no "_total"
 * in OpenMetrics, and has it in the older format, whose readers treat other counters as untyped.
 */
#include "echod/metrics/metrics.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echod/log/log.h"
#include "wire/event.h"

struct page {
	FILE *stream;
	enum metrics_format format;
};

/* The end of the names of a family's samples. */
static const char *suffix_of(const char *type)
{
	return strcmp(type, "counter") == 0 ? "_total" : "";
}

static void write_family(const struct page *page, const char *name, const char *type,
			 const char *help)
{
	const char *suffix = page->format == METRICS_OPENMETRICS ? "" : suffix_of(type);

	fprintf(page->stream, "# HELP echod_%s%s %s\n# TYPE echod_%s%s %s\n", name, suffix, help,
		name, suffix, type);
}

/* One counter for each of these reasons. */
static void write_reasons(const struct page *page, const char *name, const char *label,
			  const char *const *reasons, const uint64_t *values, size_t count,
			  const char *help)
{
	write_family(page, name, "counter", help);
	for (size_t i = 0; i < count; i++)
		fprintf(page->stream, "echod_%s_total{%s=\"%s\"} %" PRIu64 "\n", name, label,
			reasons[i], values[i]);
}

static void write_seconds(const struct page *page, const char *name, const char *suffix,
			  uint64_t us)
{
	fprintf(page->stream, "echod_%s%s %" PRIu64 ".%06" PRIu64 "\n", name, suffix,
		us / CLOCK_US_PER_S, us % CLOCK_US_PER_S);
}

/* Bucket i counts what is shorter than 2^i units; the last one has no bound. */
static void write_histogram(const struct page *page, const char *name, const uint64_t *buckets,
			    unsigned count, double unit_s, uint64_t sum_us, const char *help)
{
	uint64_t seen = 0;

	write_family(page, name, "histogram", help);
	for (unsigned i = 0; i + 1 < count; i++) {
		seen += buckets[i];
		fprintf(page->stream, "echod_%s_bucket{le=\"%.12g\"} %" PRIu64 "\n", name,
			unit_s * (double)(UINT64_C(1) << i), seen);
	}
	seen += buckets[count - 1];
	fprintf(page->stream, "echod_%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, seen);
	write_seconds(page, name, "_sum", sum_us);
	fprintf(page->stream, "echod_%s_count %" PRIu64 "\n", name, seen);
}

/* Live connections have gauges of their own: a counter must not fall when one of them ends. */
static void write_numbers(const struct page *page, const struct supervisor *supervisor,
			  const struct tally *tally)
{
	uint64_t live_in, live_out;

	totals_live_bytes(supervisor, &live_in, &live_out);

	const struct {
		const char *name;
		const char *type;
		uint64_t value;
		const char *help;
	} numbers[] = {
		{"connections_accepted", "counter", tally->accepted,
		 "Connections taken, refused ones included."},
		{"connections_empty", "counter", tally->empty,
		 "Connections that ended without a byte (health checks)."},
		{"connections_live", "gauge", tally_live(tally), "Connections now."},
		{"connections_waiting", "gauge", totals_waiting(supervisor),
		 "Those of them that wait for their PROXY header."},
		{"connections_max", "gauge", supervisor->configuration->limits.connections,
		 "The configured limit."},
		{"received_bytes", "counter", tally->bytes_in,
		 "Bytes received on connections that ended."},
		{"sent_bytes", "counter", tally->bytes_out,
		 "Bytes sent on connections that ended."},
		{"live_received_bytes", "gauge", live_in, "Bytes received on connections of now."},
		{"live_sent_bytes", "gauge", live_out, "Bytes sent on connections of now."},
		{"datagrams_received", "counter", tally->datagrams_received,
		 "UDP datagrams received."},
		{"datagrams_sent", "counter", tally->datagrams_sent,
		 "UDP datagrams sent back."},
		{"datagrams_received_bytes", "counter", tally->datagram_bytes_in,
		 "Payload of UDP datagrams received."},
		{"datagrams_sent_bytes", "counter", tally->datagram_bytes_out,
		 "Payload of UDP datagrams sent back."},
		{"datagrams_unmerged", "counter", tally->datagrams_unmerged,
		 "Answers to merged datagrams that had to be sent in pieces."},
		{"datagrams_kernel_dropped", "counter", tally->datagrams_kernel_dropped,
		 "UDP datagrams that found the socket's buffer full."},
		{"starved", "counter", tally->starved,
		 "Times that accept or fork failed for lack of a resource."},
		{"events_dropped", "counter", tally->events_dropped,
		 "Events that found the ring full."},
		{"log_lines_suppressed", "counter", supervisor->report.suppressed,
		 "Log lines left out by the rate limit."},
		{"log_lines_lost", "counter", log_lost(), "Log lines that no sink took."},
		{"listener_restarts", "counter", supervisor->listener_restarts,
		 "Listeners that died and were replaced."},
		{"datagram_restarts", "counter", tally->datagram_restarts,
		 "Datagram processes that died and were replaced."},
		{"generations", "gauge", totals_generations(supervisor),
		 "Listeners with their workers, the draining ones included."},
		{"generation", "gauge", supervisor->current ? supervisor->current->number : 0,
		 "Number of the generation that accepts, 0 for none."},
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		write_family(page, numbers[i].name, numbers[i].type, numbers[i].help);
		fprintf(page->stream, "echod_%s%s %" PRIu64 "\n", numbers[i].name,
			suffix_of(numbers[i].type), numbers[i].value);
	}
}

static void write_page(const struct page *page, const struct supervisor *supervisor)
{
	static const char *const end_names[] = END_NAMES;
	static const char *const refuse_names[] = REFUSE_NAMES;
	static const char *const drop_names[] = DROP_NAMES;
	struct tally tally;

	totals_sum(supervisor, &tally);
	write_numbers(page, supervisor, &tally);
	write_reasons(page, "connections_closed", "end", end_names, tally.closed, END_COUNT,
		      "Connections that ended, by reason.");
	write_reasons(page, "connections_refused", "reason", refuse_names, tally.refused,
		      REFUSE_COUNT, "Connections accepted and closed at once, by reason.");
	write_reasons(page, "datagrams_dropped", "reason", drop_names, tally.datagrams_dropped,
		      DROP_COUNT, "UDP datagrams that got no answer, by reason.");
	write_histogram(page, "connection_duration_seconds", tally.duration_histogram,
			DURATION_BUCKETS, 1e-3, tally.duration_sum_us,
			"How long connections lasted.");
	write_histogram(page, "fork_duration_seconds", tally.fork_histogram, FORK_BUCKETS, 1e-6,
			tally.fork_sum_us, "How long it took to fork a worker.");
	write_family(page, "start_time_seconds", "gauge", "When the daemon started, Unix time.");
	write_seconds(page, "start_time_seconds", "", supervisor->started_realtime_us);
	write_family(page, "build_info", "gauge", "The version, as a label.");
	fprintf(page->stream, "echod_build_info{version=\"%s\"} 1\n# EOF\n", PACKAGE_VERSION);
}

char *metrics_text(const struct supervisor *supervisor, enum metrics_format format)
{
	char *text = NULL;
	size_t size;
	struct page page = { open_memstream(&text, &size), format };

	assert(supervisor->configuration);
	if (!page.stream)
		return NULL;
	write_page(&page, supervisor);
	if (fclose(page.stream) == 0)
		return text;
	free(text);
	return NULL;
}

int metrics_write_file(const struct supervisor *supervisor, const char *path)
{
	char *text = metrics_text(supervisor, METRICS_PROMETHEUS);
	/* node_exporter is another user */
	int r = text ? fd_replace_file(path, text, strlen(text), 0644) : -ENOMEM;

	free(text);
	return r;
}

void metrics_leave_file(const char *path, const char *next)
{
	if (path && !(next && strcmp(path, next) == 0))
		unlink(path);
}
