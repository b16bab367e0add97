/* SPDX-License-Identifier: MIT */
/* What load says: a live line, and the account at the end. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "echoctl/load/load.h"
#include "echoctl/probe/exchange.h"

#define WIDTH_MAX 160

static const char *const phase_names[LOAD_PHASES] = {
	[LOAD_CONNECT] = "connect",
	[LOAD_SEND] = "send",
	[LOAD_ECHO] = "echo",
	[LOAD_VERIFY] = "verify",
	[LOAD_EOF] = "eof",
};

void load_collect(const struct load *load, struct load_tally *ret_tally)
{
	memset(ret_tally, 0, sizeof(*ret_tally));
	ret_tally->ready = true;
	for (uint64_t i = 0; i < load->processes; i++) {
		const struct load_tally *tally = &load->shared->tallies[i];

		ret_tally->bytes += tally->bytes;
		ret_tally->connections += tally->connections;
		ret_tally->open += tally->open;
		ret_tally->not_begun += tally->not_begun;
		for (unsigned phase = 0; phase < LOAD_PHASES; phase++) {
			ret_tally->errors[phase] += tally->errors[phase];
			if (tally->errors[phase] > 0)
				ret_tally->reasons[phase] = tally->reasons[phase];
		}
		if (!__atomic_load_n(&tally->ready, __ATOMIC_ACQUIRE))
			ret_tally->ready = false;
		histogram_merge(&ret_tally->raw, &tally->raw);
		histogram_merge(&ret_tally->corrected, &tally->corrected);
		histogram_merge(&ret_tally->connect, &tally->connect);
	}
}

uint64_t load_errors(const struct load_tally *tally)
{
	uint64_t sum = 0;

	for (unsigned phase = 0; phase < LOAD_PHASES; phase++)
		sum += tally->errors[phase];
	return sum;
}

static double per_second(uint64_t count, uint64_t ns)
{
	return ns > 0 ? (double)count * 1e9 / (double)ns : 0;
}

/* The latency that counts: from the due time where there is one. */
static const struct histogram *latency_of(const struct load *load,
					  const struct load_tally *tally)
{
	return load->rate > 0 ? &tally->corrected : &tally->raw;
}

/* A percentile of the interval; null if nothing came back: that is no latency of 0. */
static json_t *percentile_json(const struct histogram *interval, double percent)
{
	if (interval->count == 0)
		return json_null();
	return json_integer((json_int_t)histogram_percentile(interval, percent));
}

static const char *percentile_text(const struct histogram *interval, double percent,
				   char text[UNITS_TEXT_MAX])
{
	return interval->count == 0 ? "-" :
	       units_time(histogram_percentile(interval, percent), text);
}

void load_report_progress(const struct load *load, const struct load_tally *now,
			  const struct load_tally *before, uint64_t elapsed_ns,
			  uint64_t interval_ns)
{
	static struct histogram interval;
	char p50[UNITS_TEXT_MAX];
	char p99[UNITS_TEXT_MAX];
	char text[160];
	double rate = per_second(now->raw.count - before->raw.count, interval_ns);

	histogram_difference(latency_of(load, now), latency_of(load, before),
			     &interval);
	report_json(load->report, json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:f, s:I, s:o, s:o}", "event", "load_progress",
		"elapsed_ns", (json_int_t)elapsed_ns,
		"interval_ns", (json_int_t)interval_ns,
		"open_connections", (json_int_t)now->open,
		"messages", (json_int_t)now->raw.count,
		"messages_per_s", rate,
		"errors", (json_int_t)load_errors(now),
		"p50_ns", percentile_json(&interval, 50),
		"p99_ns", percentile_json(&interval, 99)));
	if (load->report->json)
		return;
	snprintf(text, sizeof(text), "%4.0f s  %" PRIu64 " open  %.0f echoes/s  %.1f MiB/s  p50 %s"
		 "  p99 %s  %" PRIu64 " errors", (double)elapsed_ns / 1e9, now->open, rate,
		 per_second(now->bytes - before->bytes, interval_ns) / 1048576,
		 percentile_text(&interval, 50, p50), percentile_text(&interval, 99, p99),
		 load_errors(now));
	if (load->terminal)
		terminal_show("%s", text);
	else
		fprintf(stderr, "%s\n", text);
}

/* Of the processes that were reaped. */
static double children_cpu_s(void)
{
	struct rusage usage;

	getrusage(RUSAGE_CHILDREN, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		(double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static json_t *errors_json(const struct load_tally *tally)
{
	json_t *errors = json_object();

	for (unsigned phase = 0; phase < LOAD_PHASES; phase++)
		json_object_set_new(errors, phase_names[phase],
				    json_integer((json_int_t)tally->errors[phase]));
	return errors;
}

static void emit_summary(const struct load *load, const struct load_tally *tally,
			 uint64_t elapsed_ns)
{
	json_t *event = json_pack(
		"{s:s, s:o, s:I, s:I, s:I, s:b, s:I, s:I, s:I, s:f, s:I, s:I, s:o, s:o, s:o, s:f}",
		"event", "load_summary",
		"peer", report_string(load->peer),
		"connections", (json_int_t)load->connections,
		"processes", (json_int_t)load->processes,
		"size_bytes", (json_int_t)load->size_bytes,
		"reconnect", load->reconnect,
		"rate_per_s", (json_int_t)load->rate,
		"duration_ns", (json_int_t)elapsed_ns,
		"messages", (json_int_t)tally->raw.count,
		"messages_per_s", per_second(tally->raw.count, elapsed_ns),
		"verified_bytes", (json_int_t)tally->bytes,
		"connections_made", (json_int_t)tally->connections,
		"errors", errors_json(tally),
		"rtt", histogram_json(&tally->raw),
		"connect", histogram_json(&tally->connect),
		"client_cpu_s", children_cpu_s());

	if (load->rate > 0)
		json_object_update_new(event, json_pack(
			"{s:I, s:o}", "not_begun", (json_int_t)tally->not_begun,
			"latency_from_due", histogram_json(&tally->corrected)));
	report_json(load->report, event);
}

static void print_errors(const struct load *load, const struct load_tally *tally)
{
	const char *before = "errors: ";

	if (load_errors(tally) == 0) {
		report_text(load->report, "no errors\n");
		return;
	}
	for (unsigned phase = 0; phase < LOAD_PHASES; phase++) {
		if (tally->errors[phase] == 0)
			continue;
		report_text(load->report, "%s%" PRIu64 " %s (%s)", before, tally->errors[phase],
			    phase_names[phase], exchange_why(tally->reasons[phase]));
		before = ", ";
	}
	report_text(load->report, "\n");
}

static void print_latency(const struct load *load, const char *name,
			  const struct histogram *histogram)
{
	static const double percentiles[] = { 50, 90, 99, 99.9, 99.99 };
	char text[UNITS_TEXT_MAX];

	if (histogram->count == 0)
		return;
	report_text(load->report, "%s:\n  min %s", name, units_time(histogram->min_ns, text));
	report_text(load->report, "  avg %s", units_time((uint64_t)histogram->mean_ns, text));
	report_text(load->report, "  max %s", units_time(histogram->max_ns, text));
	report_text(load->report, "  mdev %s\n ",
		    units_time((uint64_t)histogram_deviation(histogram), text));
	for (unsigned i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		report_text(load->report, " p%g %s ", percentiles[i],
			    units_time(histogram_percentile(histogram, percentiles[i]), text));
	report_text(load->report, "\n");
}

void load_report_summary(const struct load *load, const struct load_tally *tally,
			 uint64_t elapsed_ns)
{
	unsigned width = terminal_size(STDOUT_FILENO).ws_col;

	terminal_keep();
	emit_summary(load, tally, elapsed_ns);
	if (load->report->json)
		return;
	report_text(load->report, "--- %s load statistics ---\n", load->peer);
	report_text(load->report, "%" PRIu64 " connection%s%s, %" PRIu64 " bytes a message%s\n",
		    load->connections, load->connections == 1 ? "" : "s",
		    load->reconnect ? " at a time, one for each message" : "", load->size_bytes,
		    load->rate > 0 ? "" : ", closed loop");
	if (load->rate > 0)
		report_text(load->report, "%" PRIu64 " messages a second wanted\n", load->rate);
	report_text(load->report, "%" PRIu64 " echoes verified in %.3f s: %.0f/s, %.2f MiB/s\n",
		    tally->raw.count, (double)elapsed_ns / 1e9,
		    per_second(tally->raw.count, elapsed_ns),
		    per_second(tally->bytes, elapsed_ns) / 1048576);
	if (tally->not_begun > 0)
		report_text(load->report, "%" PRIu64 " more were due, but no connection was free "
			    "for them\n", tally->not_begun);
	print_errors(load, tally);
	if (load->rate > 0)
		print_latency(load, "latency from the time when the message was due",
			      &tally->corrected);
	print_latency(load, load->reconnect ? "latency from connecting to the verified echo" :
		      "latency from sending to the verified echo", &tally->raw);
	if (load->reconnect)
		print_latency(load, "of it connecting", &tally->connect);
	report_text(load->report, "client: %" PRIu64 " process%s, %.2f s CPU\n", load->processes,
		    load->processes == 1 ? "" : "es", children_cpu_s());
	if (tally->raw.count > 0)
		report_text(load->report, "%s:\n", load->rate > 0 ?
			    "distribution of the latency from the time when the message was due" :
			    "distribution of the latency");
	chart_draw(stdout, latency_of(load, tally), width < WIDTH_MAX ? width : WIDTH_MAX,
		   terminal_has_blocks());
}
