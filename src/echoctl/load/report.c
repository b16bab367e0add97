/* SPDX-License-Identifier: MIT */
/* What load says: a live line, and the account at the end. */
#include <inttypes.h>
#include <langinfo.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "echoctl/load/load.h"
#include "echoctl/output/chart.h"
#include "echoctl/output/latency.h"
#include "echoctl/probe/exchange.h"

#define WIDTH_DEFAULT 80
#define WIDTH_MAX 160

static const char *const phase_names[LOAD_PHASES] = {
	[LOAD_CONNECT] = "connect",
	[LOAD_SEND] = "send",
	[LOAD_ECHO] = "echo",
	[LOAD_VERIFY] = "verify",
	[LOAD_EOF] = "eof",
};

void load_collect(const struct load_plan *plan, const struct load_shared *shared,
		  struct load_tally *ret_tally)
{
	memset(ret_tally, 0, sizeof(*ret_tally));
	ret_tally->ready = true;
	for (uint64_t i = 0; i < plan->processes; i++) {
		const struct load_tally *tally = &shared->tallies[i];

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
static const struct histogram *latency_of(const struct load_plan *plan,
					  const struct load_tally *tally)
{
	return plan->rate > 0 ? &tally->corrected : &tally->raw;
}

/* A percentile of the interval; nothing where nothing came back: that is no latency of 0. */
static void record_percentile(struct record *record, const char *key,
			      const struct histogram *interval, double percent)
{
	if (interval->count == 0)
		record_text(record, key, NULL);
	else
		record_integer(record, key, (int64_t)histogram_percentile(interval, percent));
}

static const char *percentile_text(const struct histogram *interval, double percent,
				   char text[CHART_TIME_MAX])
{
	return interval->count == 0 ? "-" :
	       chart_time(histogram_percentile(interval, percent), text);
}

void load_report_progress(struct load_report *report, const struct load_tally *now,
			  const struct load_tally *before, uint64_t elapsed_ns,
			  uint64_t interval_ns)
{
	static struct histogram interval;
	struct record *record;
	char p50[CHART_TIME_MAX];
	char p99[CHART_TIME_MAX];
	double rate = per_second(now->raw.count - before->raw.count, interval_ns);

	histogram_difference(latency_of(report->plan, now), latency_of(report->plan, before),
			     &interval);
	record = record_new("load_progress");
	record_integer(record, "elapsed_ns", (int64_t)elapsed_ns);
	record_integer(record, "interval_ns", (int64_t)interval_ns);
	record_integer(record, "open_connections", (int64_t)now->open);
	record_integer(record, "messages", (int64_t)now->raw.count);
	record_real(record, "messages_per_s", rate);
	record_integer(record, "errors", (int64_t)load_errors(now));
	record_percentile(record, "p50_ns", &interval, 50);
	record_percentile(record, "p99_ns", &interval, 99);
	report_record(report->report, record);
	if (report->report->json)
		return;
	fprintf(stderr, "%s%4.0f s  %" PRIu64 " open  %.0f echoes/s  %.1f MiB/s  p50 %s  p99 %s  "
		"%" PRIu64 " errors%s", report->terminal ? "\r" : "", (double)elapsed_ns / 1e9,
		now->open, rate, per_second(now->bytes - before->bytes, interval_ns) / 1048576,
		percentile_text(&interval, 50, p50), percentile_text(&interval, 99, p99),
		load_errors(now),
		report->terminal ? "\033[K" : "\n");
}

static void record_summary(struct load_report *report, const struct load_tally *tally,
			   uint64_t elapsed_ns)
{
	const struct load_plan *plan = report->plan;
	struct record *record = record_new("load_summary");
	struct record *errors = record_new(NULL);

	record_text(record, "peer", report->peer);
	record_integer(record, "connections", (int64_t)plan->connections);
	record_integer(record, "processes", (int64_t)plan->processes);
	record_integer(record, "size_bytes", (int64_t)plan->size_bytes);
	record_flag(record, "reconnect", plan->reconnect);
	record_integer(record, "rate_per_s", (int64_t)plan->rate);
	record_integer(record, "duration_ns", (int64_t)elapsed_ns);
	record_integer(record, "messages", (int64_t)tally->raw.count);
	record_real(record, "messages_per_s", per_second(tally->raw.count, elapsed_ns));
	record_integer(record, "verified_bytes", (int64_t)tally->bytes);
	if (plan->rate > 0)
		record_integer(record, "not_begun", (int64_t)tally->not_begun);
	record_integer(record, "connections_made", (int64_t)tally->connections);
	for (unsigned phase = 0; phase < LOAD_PHASES; phase++)
		record_integer(errors, phase_names[phase], (int64_t)tally->errors[phase]);
	record_attach(record, "errors", errors);
	record_attach(record, "rtt", latency_record(&tally->raw));
	if (plan->rate > 0)
		record_attach(record, "latency_from_due", latency_record(&tally->corrected));
	record_attach(record, "connect", latency_record(&tally->connect));
	record_real(record, "client_cpu_s", report->client_cpu_s);
	report_record(report->report, record);
}

static void print_errors(struct load_report *report, const struct load_tally *tally)
{
	const char *before = "errors: ";

	if (load_errors(tally) == 0) {
		report_text(report->report, "no errors\n");
		return;
	}
	for (unsigned phase = 0; phase < LOAD_PHASES; phase++) {
		if (tally->errors[phase] == 0)
			continue;
		report_text(report->report, "%s%" PRIu64 " %s (%s)", before, tally->errors[phase],
			    phase_names[phase], exchange_why(tally->reasons[phase]));
		before = ", ";
	}
	report_text(report->report, "\n");
}

static void print_latency(struct load_report *report, const char *name,
			  const struct histogram *histogram)
{
	static const double percentiles[] = { 50, 90, 99, 99.9, 99.99 };
	char text[CHART_TIME_MAX];

	if (histogram->count == 0)
		return;
	report_text(report->report, "%s:\n  min %s", name, chart_time(histogram->min_ns, text));
	report_text(report->report, "  avg %s", chart_time((uint64_t)histogram->mean_ns, text));
	report_text(report->report, "  max %s", chart_time(histogram->max_ns, text));
	report_text(report->report, "  mdev %s\n ",
		    chart_time((uint64_t)histogram_deviation(histogram), text));
	for (unsigned i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		report_text(report->report, " p%g %s ", percentiles[i],
			    chart_time(histogram_percentile(histogram, percentiles[i]), text));
	report_text(report->report, "\n");
}

static unsigned output_width(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return WIDTH_DEFAULT;
	return size.ws_col < WIDTH_MAX ? size.ws_col : WIDTH_MAX;
}

void load_report_summary(struct load_report *report, const struct load_tally *tally,
			 uint64_t elapsed_ns)
{
	const struct load_plan *plan = report->plan;

	if (report->progress && report->terminal && !report->report->json)
		fputc('\n', stderr);
	record_summary(report, tally, elapsed_ns);
	if (report->report->json)
		return;
	report_text(report->report, "--- %s load statistics ---\n", report->peer);
	report_text(report->report, "%" PRIu64 " connection%s%s, %" PRIu64 " bytes a message, ",
		    plan->connections, plan->connections == 1 ? "" : "s",
		    plan->reconnect ? " at a time, one for each message" : "", plan->size_bytes);
	if (plan->rate > 0)
		report_text(report->report, "%" PRIu64 " messages a second wanted\n", plan->rate);
	else
		report_text(report->report, "closed loop\n");
	report_text(report->report, "%" PRIu64 " echoes verified in %.3f s: %.0f/s, %.2f MiB/s\n",
		    tally->raw.count, (double)elapsed_ns / 1e9,
		    per_second(tally->raw.count, elapsed_ns),
		    per_second(tally->bytes, elapsed_ns) / 1048576);
	if (tally->not_begun > 0)
		report_text(report->report, "%" PRIu64 " more were due, but no connection was free "
			    "for them\n", tally->not_begun);
	print_errors(report, tally);
	if (plan->rate > 0)
		print_latency(report, "latency from the time when the message was due",
			      &tally->corrected);
	print_latency(report, plan->reconnect ? "latency from connecting to the verified echo" :
		      "latency from sending to the verified echo", &tally->raw);
	if (plan->reconnect)
		print_latency(report, "of it connecting", &tally->connect);
	report_text(report->report, "client: %" PRIu64 " process%s, %.2f s CPU\n", plan->processes,
		    plan->processes == 1 ? "" : "es", report->client_cpu_s);
	chart_draw(stdout, latency_of(plan, tally), output_width(),
		   strcmp(nl_langinfo(CODESET), "UTF-8") == 0);
}
