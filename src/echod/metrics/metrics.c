/* SPDX-License-Identifier: MIT */
/* The daemon in numbers for monitoring: OpenMetrics text. */
#include "echod/metrics/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"
#include "echod/log/log.h"
#include "echod/state/totals.h"
#include "wire/end.h"

static const char *const end_names[] = END_NAMES;
static const char *const refuse_names[] = REFUSE_NAMES;

static void write_family(FILE *stream, const char *name, const char *type, const char *help)
{
	fprintf(stream, "# HELP echod_%s %s\n# TYPE echod_%s %s\n", name, help, name, type);
}

static void write_counter(FILE *stream, const char *name, uint64_t value, const char *help)
{
	write_family(stream, name, "counter", help);
	fprintf(stream, "echod_%s_total %" PRIu64 "\n", name, value);
}

static void write_gauge(FILE *stream, const char *name, uint64_t value, const char *help)
{
	write_family(stream, name, "gauge", help);
	fprintf(stream, "echod_%s %" PRIu64 "\n", name, value);
}

/* Bucket i counts what is shorter than 2^i units; the last one has no bound. */
static void write_histogram(FILE *stream, const char *name, const uint64_t *buckets,
			    unsigned count, double unit_s, uint64_t sum_us, const char *help)
{
	uint64_t seen = 0;

	write_family(stream, name, "histogram", help);
	for (unsigned i = 0; i < count; i++) {
		seen += buckets[i];
		if (i + 1 < count)
			fprintf(stream, "echod_%s_bucket{le=\"%.12g\"} %" PRIu64 "\n", name,
				unit_s * (double)(UINT64_C(1) << i), seen);
	}
	fprintf(stream, "echod_%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, seen);
	fprintf(stream, "echod_%s_sum %" PRIu64 ".%06" PRIu64 "\n", name, sum_us / 1000000,
		sum_us % 1000000);
	fprintf(stream, "echod_%s_count %" PRIu64 "\n", name, seen);
}

/* Gauges of their own for live connections: a counter must not fall when one of them ends. */
static void write_bytes(const struct supervisor *supervisor, const struct tally *tally,
			FILE *stream)
{
	uint64_t in, out;

	totals_live_bytes(supervisor, &in, &out);
	write_counter(stream, "received_bytes", tally->bytes_in,
		      "Bytes received on connections that ended.");
	write_counter(stream, "sent_bytes", tally->bytes_out,
		      "Bytes sent on connections that ended.");
	write_gauge(stream, "live_received_bytes", in, "Bytes received on connections of now.");
	write_gauge(stream, "live_sent_bytes", out, "Bytes sent on connections of now.");
}

static void write_connections(const struct supervisor *supervisor, const struct tally *tally,
			      FILE *stream)
{
	write_counter(stream, "connections_accepted", tally->accepted,
		      "Connections taken, refused ones included.");
	write_family(stream, "connections_closed", "counter", "Connections that ended, by reason.");
	for (size_t i = 0; i < END_COUNT; i++)
		fprintf(stream, "echod_connections_closed_total{end=\"%s\"} %" PRIu64 "\n",
			end_names[i], tally->closed[i]);
	write_family(stream, "connections_refused", "counter",
		     "Connections accepted and closed at once, by reason.");
	for (size_t i = 0; i < REFUSE_COUNT; i++)
		fprintf(stream, "echod_connections_refused_total{reason=\"%s\"} %" PRIu64 "\n",
			refuse_names[i], tally->refused[i]);
	write_counter(stream, "connections_empty", tally->empty,
		      "Connections that ended without a byte (health checks).");
	write_gauge(stream, "connections_live", totals_live(supervisor),
		    "Connections now.");
	write_gauge(stream, "connections_max", supervisor->configuration->limits.connections,
		    "The configured limit.");
	write_bytes(supervisor, tally, stream);
	write_histogram(stream, "connection_duration_seconds", tally->duration_histogram,
			DURATION_BUCKETS, 1e-3, tally->duration_sum_us,
			"How long connections lasted.");
}

void metrics_write(const struct supervisor *supervisor, FILE *stream)
{
	struct tally tally;

	totals_sum(supervisor, &tally);
	write_connections(supervisor, &tally, stream);
	write_histogram(stream, "fork_duration_seconds", tally.fork_histogram, FORK_BUCKETS, 1e-6,
			tally.fork_sum_us, "How long it took to fork a worker.");
	write_counter(stream, "starved", tally.starved,
		      "Times that accept or fork failed for want of a resource.");
	write_counter(stream, "events_dropped", tally.events_dropped,
		      "Events that found the ring full.");
	write_counter(stream, "log_lines_suppressed", supervisor->report.suppressed,
		      "Log lines left out by the rate limit.");
	write_counter(stream, "log_lines_lost", log_lost(), "Log lines that no sink took.");
	write_counter(stream, "listener_restarts", supervisor->listener_restarts,
		      "Listeners that died and were replaced.");
	write_gauge(stream, "generations", totals_generations(supervisor),
		    "Listeners with their workers, the draining ones included.");
	write_gauge(stream, "generation",
		    supervisor->current ? supervisor->current->number : 0,
		    "Number of the generation that accepts, 0 for none.");
	write_family(stream, "start_time_seconds", "gauge", "When the daemon started, Unix time.");
	fprintf(stream, "echod_start_time_seconds %" PRIu64 ".%06" PRIu64 "\n",
		supervisor->started_realtime_us / 1000000,
		supervisor->started_realtime_us % 1000000);
	write_family(stream, "build_info", "gauge", "The version, as a label.");
	fprintf(stream, "echod_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
	fputs("# EOF\n", stream);
}

int metrics_write_file(const struct supervisor *supervisor, const char *path)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	int result;

	if (!stream)
		return -errno;
	metrics_write(supervisor, stream);
	/* node_exporter is another user */
	result = fclose(stream) == 0 ? replace_file(path, text, size, 0644) : -errno;
	free(text);
	return result;
}

void metrics_leave_file(const char *path, const char *next)
{
	if (path && !(next && strcmp(path, next) == 0))
		unlink(path);
}
