/* SPDX-License-Identifier: MIT */
/*
 * echoctl load: many connections at a fixed rate or as fast as they go, every byte verified.
 *
 * The process that was started reads the options, forks --processes workers, shows progress and
 * reports at the end. It measures nothing itself. Each worker has its share of the connections and
 * an epoll loop over them (worker.c); its results are in shared memory, one tally for each worker,
 * so that no lock and no message is needed and nothing is lost if a worker dies.
 *
 * Without --rate a connection begins the next message when the echo of the last one is complete.
 * With --rate, messages are due on one common schedule that is dealt out in turn: worker i of n has
 * every n-th. A message that is due begins on the connection that has been idle longest. If no
 * connection is idle it waits, and its latency counts from when it was due, not from when it began.
 * So a server that stops for a second shows up in every message of that second (no coordinated
 * omission).
 *
 * The sum is kept exact: each message that was due is echoed, failed or not begun, and each of them
 * is counted once. If a connection fails, the message that was to begin on it has failed.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/command_line/command.h"
#include "echoctl/load/load.h"
#include "echoctl/probe/exchange.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/probe/payload.h"

#define DURATION_US (10u * CLOCK_US_PER_S)
#define DURATION_WITH_COUNT_US (3600u * (uint64_t)CLOCK_US_PER_S)
#define DURATION_MAX_US (UINT64_C(7) * 86400 * CLOCK_US_PER_S)
#define CONNECTIONS_MAX 100000
#define RATE_MAX 10000000
#define SIZE_MAX_BYTES (UINT64_C(16) << 20)
#define PROGRESS_NS UINT64_C(1000000000)
#define START_POLL_NS UINT64_C(5000000)
#define WIDTH_MAX 160
#define FLOWS_SHOWN 16
#define DESCRIPTORS 16		/* of a process beside its connections */

enum {
	OPTION_RATE = OPTION_OWN,
	OPTION_RECONNECT,
	OPTION_WINDOW,
	OPTION_PROCESSES,
	OPTION_TIMEOUT,
	OPTION_PROGRESS,
	OPTION_REQUIRE,
	OPTION_SERIES,
};

/* The parent's view of a run. */
struct run {
	struct load load;
	uint64_t left;			/* processes that are not reaped yet */
	int error;			/* -errno: why it ends early */
	bool holds;			/* what is required of it */
	uint64_t reported_ns;
	struct load_tally now;
	struct load_tally before;
};

static const char help[] =
	"Sends messages over many connections, one at a time on each, and verifies every\n"
	"byte that comes back. Without --rate each connection sends its next message as\n"
	"soon as the last one has come back. With -u a message is a datagram, and a\n"
	"connection is a source port.\n"
	"\n"
	"  -c, --connections COUNT     connections at a time (8)\n"
	"  -d, --duration TIME         how long to begin new messages (10s; 1h with -n)\n"
	"  -n, --count COUNT           messages in all, including those that fail\n"
	"      --rate N                messages a second in all, at a fixed schedule;\n"
	"                              latency counts from when a message was due, with\n"
	"                              the wait for a free connection, and separately\n"
	"                              from when it was sent\n"
	"  -s, --size SIZE             bytes a message (64; at most 16M, with -u 65527)\n"
	"      --reconnect             a connection for each message: connect, echo,\n"
	"                              half-close, wait for the peer's FIN\n"
	"      --window COUNT          with -u: datagrams on their way over each of the\n"
	"                              connections, which are source ports (1 to 1024)\n"
	"      --processes COUNT       processes that share the connections (1 to 16)\n"
	"      --timeout TIME          limit for a message and for an attempt to connect\n"
	"                              (5s), for which a shorter --connect-timeout counts\n"
	"      --require LIST          exit 1 unless these hold, as p99<20ms,loss<0.1%\n"
	"      --series FILE           a row for each second, comma-separated values\n"
	"      --progress              a line a second even if stderr is not a terminal\n"
	"\n"
	"Exit status: 0 all verified, 1 some failed or never began, 2 not reached.\n"
	"\n"
	"Example: 64 connections, a thousand messages a second, for half a minute\n"
	"  echoctl load -c 64 --rate 1000 -d 30s echo.example.net\n";

static const struct option options[] = {
	{"connections", required_argument, NULL, 'c'},
	{"duration", required_argument, NULL, 'd'},
	{"count", required_argument, NULL, 'n'},
	{"rate", required_argument, NULL, OPTION_RATE},
	{"size", required_argument, NULL, 's'},
	{"reconnect", no_argument, NULL, OPTION_RECONNECT},
	{"window", required_argument, NULL, OPTION_WINDOW},
	{"processes", required_argument, NULL, OPTION_PROCESSES},
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
	{"progress", no_argument, NULL, OPTION_PROGRESS},
	{"require", required_argument, NULL, OPTION_REQUIRE},
	{"series", required_argument, NULL, OPTION_SERIES},
	{0},
};

static const char *take(void *data, int option, const char *value)
{
	struct load *load = data;

	switch (option) {
	case 'c':
		return command_take_number(value, 1, CONNECTIONS_MAX, &load->connections);
	case 'd':
		return command_take_duration(value, 1, DURATION_MAX_US, &load->duration_us);
	case 'n':
		return command_take_number(value, 1, INT64_MAX, &load->messages);
	case OPTION_RATE:
		return command_take_number(value, 1, RATE_MAX, &load->rate);
	case 's':
		return command_take_size(value, 1, SIZE_MAX_BYTES, &load->size_bytes);
	case OPTION_REQUIRE:
		return command_take_list(value, require_take, &load->require);
	case OPTION_SERIES:
		return series_take(value, &load->series);
	case OPTION_RECONNECT:
		load->reconnect = true;
		return NULL;
	case OPTION_WINDOW:
		return command_take_number(value, 1, LOAD_WINDOW_MAX, &load->window);
	case OPTION_PROCESSES:
		return command_take_number(value, 1, LOAD_PROCESSES_MAX, &load->processes);
	case OPTION_TIMEOUT:
		return command_take_duration(value, 1, DURATION_MAX_US, &load->timeout_us);
	default:
		load->progress = true;
		return NULL;
	}
}

/* Half of the processors; the other half is for a server on the same machine. */
static uint64_t default_processes(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	if (processors < 4)
		return 1;
	return processors / 2 < LOAD_PROCESSES_MAX ? (uint64_t)processors / 2 : LOAD_PROCESSES_MAX;
}

static const char *const phase_names[LOAD_PHASES] = {
	[LOAD_CONNECT] = "connect",
	[LOAD_SEND] = "send",
	[LOAD_ECHO] = "echo",
	[LOAD_VERIFY] = "verify",
	[LOAD_EOF] = "eof",
};

/* The counters of all processes together; ret_tally is overwritten. */
static void collect(const struct load *load, struct load_tally *ret_tally)
{
	memset(ret_tally, 0, sizeof(*ret_tally));
	ret_tally->ready = true;
	for (uint64_t i = 0; i < load->processes; i++) {
		const struct load_tally *tally = &load->shared->tallies[i];

		ret_tally->bytes += tally->bytes;
		ret_tally->connections += tally->connections;
		ret_tally->open += tally->open;
		ret_tally->begun += tally->begun;
		ret_tally->retransmits += tally->retransmits;
		ret_tally->not_begun += tally->not_begun;
		if (tally->stopped_ns > ret_tally->stopped_ns)
			ret_tally->stopped_ns = tally->stopped_ns;
		ret_tally->stamped += tally->stamped;
		ret_tally->unstamped += tally->unstamped;
		if (tally->last_ns > ret_tally->last_ns)
			ret_tally->last_ns = tally->last_ns;
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
		histogram_merge(&ret_tally->tcp_rtt, &tally->tcp_rtt);
	}
}

static uint64_t count_errors(const struct load_tally *tally)
{
	uint64_t sum = 0;

	for (unsigned phase = 0; phase < LOAD_PHASES; phase++)
		sum += tally->errors[phase];
	return sum;
}

static bool is_tcp(const struct load *load)
{
	return !load->udp && load->target.address.ss_family != AF_UNIX;
}

static double per_second(uint64_t count, uint64_t ns)
{
	return ns > 0 ? (double)count * 1e9 / (double)ns : 0;
}

/* How long messages were sent; the wait for the last answers does not belong to a rate. */
static uint64_t sending_ns(const struct load *load, const struct load_tally *tally)
{
	uint64_t start_ns = load->shared->start_ns;
	uint64_t ns = tally->last_ns > start_ns ? tally->last_ns - start_ns : 0;

	return ns < load->duration_us * 1000 ? ns : load->duration_us * 1000;
}

/* The latency that counts: from the due time if there is a rate. */
static const struct histogram *latency_of(const struct load *load, const struct load_tally *tally)
{
	return load->rate > 0 ? &tally->corrected : &tally->raw;
}

/* A percentile of the interval; null if nothing came back, which is not a latency of 0. */
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

/* The latency since the last interval, until the next call. */
static const struct histogram *latency_since(const struct run *run)
{
	static struct histogram interval;

	histogram_difference(latency_of(&run->load, &run->now),
			     latency_of(&run->load, &run->before), &interval);
	return &interval;
}

/* In ms; nothing if nothing came back. */
static const char *percentile_cell(const struct histogram *interval, double percent,
				   char text[UNITS_TEXT_MAX])
{
	snprintf(text, UNITS_TEXT_MAX, "%.6f",
		 (double)histogram_percentile(interval, percent) / 1e6);
	return interval->count == 0 ? "" : text;
}

/* The row of the last interval; retransmits are those of TCP. */
static void add_row(struct run *run, uint64_t now_ns)
{
	const struct histogram *interval = latency_since(run);
	const struct load_tally *now = &run->now;
	const struct load_tally *before = &run->before;
	char times[5][UNITS_TEXT_MAX];
	char retransmits[UNITS_TEXT_MAX] = "";

	if (!run->load.series.path)
		return;
	if (is_tcp(&run->load))
		snprintf(retransmits, sizeof(retransmits), "%" PRIu64,
			 now->retransmits - before->retransmits);
	series_add(&run->load.series, now_ns, run->load.named,
		   "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%s,%s,%s,%s,%s,%s",
		   now->begun - before->begun, now->raw.count - before->raw.count,
		   count_errors(now) - count_errors(before),
		   percentile_cell(interval, 50, times[0]), percentile_cell(interval, 90, times[1]),
		   percentile_cell(interval, 99, times[2]),
		   percentile_cell(interval, 99.9, times[3]),
		   percentile_cell(interval, 100, times[4]), retransmits);
}

/* The progress line: the results of the last interval. */
static void report_progress(const struct run *run, uint64_t elapsed_ns, uint64_t interval_ns)
{
	const struct histogram *interval = latency_since(run);
	const struct load *load = &run->load;
	const struct load_tally *now = &run->now;
	const struct load_tally *before = &run->before;
	char p50[UNITS_TEXT_MAX];
	char p99[UNITS_TEXT_MAX];
	char text[160];
	double rate = per_second(now->raw.count - before->raw.count, interval_ns);

	report_json(load->report, json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:f, s:I, s:o, s:o}", "event", "load_progress",
		"elapsed_ns", (json_int_t)elapsed_ns,
		"interval_ns", (json_int_t)interval_ns,
		"open_connections", (json_int_t)now->open,
		"messages", (json_int_t)now->raw.count,
		"messages_per_s", rate,
		"errors", (json_int_t)count_errors(now),
		"p50_ns", percentile_json(interval, 50),
		"p99_ns", percentile_json(interval, 99)));
	if (load->report->json)
		return;
	snprintf(text, sizeof(text), "%4.0f s  %" PRIu64 " open  %.0f echoes/s  %.1f MiB/s  p50 %s"
		 "  p99 %s  %" PRIu64 " errors", (double)elapsed_ns / 1e9, now->open, rate,
		 per_second(now->bytes - before->bytes, interval_ns) / 1048576,
		 percentile_text(interval, 50, p50), percentile_text(interval, 99, p99),
		 count_errors(now));
	if (load->terminal)
		terminal_show("%s", text);
	else
		fprintf(stderr, "%s\n", text);
}

/* CPU time of the processes that were reaped. */
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

/* What the kernel knows of the connections; null unless they are TCP. */
static json_t *tcp_json(const struct load *load, const struct load_tally *tally)
{
	if (!is_tcp(load))
		return json_null();
	return json_pack("{s:I, s:o}", "retransmits", (json_int_t)tally->retransmits,
			 "rtt", histogram_json(&tally->tcp_rtt));
}

static json_t *flows_json(const struct load *load)
{
	json_t *flows = json_array();

	for (uint64_t i = 0; i < load->connections; i++)
		json_array_append_new(flows, json_pack(
			"{s:I, s:I, s:I}", "port", (json_int_t)load->flows[i].port,
			"sent", (json_int_t)load->flows[i].sent,
			"lost", (json_int_t)load->flows[i].lost));
	return flows;
}

/* The flows that lost something: all of them, or those over one of several paths? */
static void print_flows(const struct load *load)
{
	uint64_t lossy = 0;

	for (uint64_t i = 0; load->udp && i < load->connections; i++) {
		const struct load_flow_tally *flow = &load->flows[i];

		if (flow->lost > 0 && lossy++ < FLOWS_SHOWN)
			report_text(load->report, "port %" PRIu64 ": %" PRIu64 " of %" PRIu64
				    " lost, %.1f%%\n", flow->port, flow->lost, flow->sent,
				    100 * (double)flow->lost / (double)flow->sent);
	}
	if (lossy > 0)
		report_text(load->report, "%" PRIu64 " of %" PRIu64 " flows lost datagrams\n",
			    lossy, load->connections);
}

static void emit_summary(const struct load *load, const struct load_tally *tally,
			 uint64_t elapsed_ns)
{
	json_t *event = json_pack(
		"{s:s, s:o, s:I, s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:o, s:o,"
		" s:o, s:o, s:f}",
		"event", "load_summary",
		"peer", report_string(load->peer),
		"connections", (json_int_t)load->connections,
		"processes", (json_int_t)load->processes,
		"size_bytes", (json_int_t)load->size_bytes,
		"reconnect", load->reconnect,
		"rate_per_s", (json_int_t)load->rate,
		"duration_ns", (json_int_t)elapsed_ns,
		"stopped_ns", (json_int_t)tally->stopped_ns,
		"messages", (json_int_t)tally->raw.count,
		"sending_ns", (json_int_t)sending_ns(load, tally),
		"messages_per_s", per_second(tally->raw.count, sending_ns(load, tally)),
		"verified_bytes", (json_int_t)tally->bytes,
		"connections_made", (json_int_t)tally->connections,
		"errors", errors_json(tally),
		"rtt", histogram_json(&tally->raw),
		"connect", histogram_json(&tally->connect),
		"tcp_info", tcp_json(load, tally),
		"client_cpu_s", children_cpu_s());

	if (load->udp)
		json_object_update_new(event, json_pack(
			"{s:s, s:I, s:s, s:I, s:o}", "protocol", "udp",
			"window", (json_int_t)load->window,
			"stamps", tally->stamped > 0 ? "kernel" : "user",
			"stamps_missing", (json_int_t)tally->unstamped,
			"flows", flows_json(load)));
	if (load->rate > 0)
		json_object_update_new(event, json_pack(
			"{s:I, s:o}", "not_begun", (json_int_t)tally->not_begun,
			"latency_from_due", histogram_json(&tally->corrected)));
	report_json(load->report, event);
}

static void print_errors(const struct load *load, const struct load_tally *tally)
{
	const char *before = "errors: ";

	if (count_errors(tally) == 0) {
		report_text(load->report, "no errors\n");
		return;
	}
	for (unsigned phase = 0; phase < LOAD_PHASES; phase++) {
		if (tally->errors[phase] == 0)
			continue;
		report_outcome(load->report, true, "%s%" PRIu64 " %s (%s)", before,
			       tally->errors[phase], phase_names[phase],
			       exchange_why(tally->reasons[phase]));
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

static void print_tcp(const struct load *load, const struct load_tally *tally)
{
	const struct histogram *rtt = &tally->tcp_rtt;
	char text[UNITS_TEXT_MAX];

	if (!is_tcp(load))
		return;
	report_text(load->report, "TCP: %" PRIu64 " retransmits", tally->retransmits);
	if (rtt->count > 0) {
		report_text(load->report, "; rtt min %s",
			    units_time(rtt->min_ns, text));
		report_text(load->report, "  p50 %s",
			    units_time(histogram_percentile(rtt, 50), text));
		report_text(load->report, "  max %s", units_time(rtt->max_ns, text));
	}
	report_text(load->report, "\n");
}

/* The report at the end: rates, errors by phase, percentiles, the drawn histogram. */
static void report_summary(const struct load *load, const struct load_tally *tally,
			   uint64_t elapsed_ns)
{
	unsigned width = terminal_size(STDOUT_FILENO).ws_col;
	uint64_t time_ns = sending_ns(load, tally);

	terminal_keep();
	emit_summary(load, tally, elapsed_ns);
	if (load->report->json)
		return;
	report_text(load->report, "--- %s load statistics ---\n", load->peer);
	if (load->udp)
		report_text(load->report, "UDP, %" PRIu64 " on their way over each of ",
			    load->window);
	report_text(load->report, "%" PRIu64 " %s%s%s, %" PRIu64 " bytes a message%s\n",
		    load->connections, load->udp ? "flow" : "connection",
		    load->connections == 1 ? "" : "s",
		    load->reconnect ? " at a time, one for each message" : "", load->size_bytes,
		    load->rate > 0 ? "" : ", closed loop");
	if (load->rate > 0)
		report_text(load->report, "%" PRIu64 " messages a second wanted\n", load->rate);
	report_text(load->report, "%" PRIu64 " echoes verified in %.3f s: %.0f/s, %.2f MiB/s\n",
		    tally->raw.count, (double)time_ns / 1e9, per_second(tally->raw.count, time_ns),
		    per_second(tally->bytes, time_ns) / 1048576);
	if (tally->stopped_ns > 0)
		report_text(load->report, "it was stopped for %.1f s itself, which no time "
			    "includes\n", (double)tally->stopped_ns / 1e9);
	if (tally->not_begun > 0)
		report_text(load->report, "%" PRIu64 " more were due, but no connection was free "
			    "for them\n", tally->not_begun);
	print_errors(load, tally);
	print_flows(load);
	print_tcp(load, tally);
	if (load->rate > 0)
		print_latency(load, "latency from the time when the message was due",
			      &tally->corrected);
	print_latency(load, load->reconnect ? "latency from connecting to the verified echo" :
		      "latency from sending to the verified echo", &tally->raw);
	if (load->reconnect)
		print_latency(load, "of it connecting", &tally->connect);
	if (tally->unstamped > 0)
		report_text(load->report, "%" PRIu64 " times are without the kernel's stamps\n",
			    tally->unstamped);
	report_text(load->report, "client: %" PRIu64 " process%s, %.2f s CPU\n", load->processes,
		    load->processes == 1 ? "" : "es", children_cpu_s());
	if (tally->raw.count > 0)
		report_text(load->report, "%s:\n", load->rate > 0 ?
			    "distribution of the latency from the time when the message was due" :
			    "distribution of the latency");
	chart_draw(stdout, latency_of(load, tally), width < WIDTH_MAX ? width : WIDTH_MAX,
		   terminal_has_blocks());
}

/* True if the requirements hold and, unless they name the loss, all was verified. */
static bool judge(const struct load *load, const struct load_tally *tally)
{
	uint64_t failed = count_errors(tally) + tally->not_begun;
	const struct require_measured measured = {
		.latency = latency_of(load, tally),
		.failed = failed,
		.total = failed + tally->raw.count,
		.per_second = per_second(tally->raw.count, sending_ns(load, tally)),
		.retransmits = is_tcp(load) ? (int64_t)tally->retransmits : -1,
	};
	bool holds = require_judge(&load->require, &measured, load->report);

	return holds && (load->require.has_loss || (failed == 0 && tally->raw.count > 0));
}

static void stop(const struct run *run)
{
	__atomic_store_n(&run->load.shared->stop, true, __ATOMIC_RELAXED);
}

/*
 * Ends the other processes, too: they would wait for the one that failed, or have half of a result.
 */
static void fail(struct run *run, int error)
{
	if (run->error == 0)
		run->error = error;
	stop(run);
}

static void start_processes(struct run *run)
{
	pid_t parent = getpid();
	pid_t pid;

	/* If our parent left it ignored, children cannot be reaped. */
	signal(SIGCHLD, SIG_DFL);
	for (uint64_t i = 0; i < run->load.processes && run->error == 0; i++) {
		pid = fork();
		if (pid < 0) {
			fail(run, -errno);
		} else if (pid > 0) {
			run->left++;
		} else {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(getppid() == parent ? -load_work(&run->load, i) : 0);
		}
	}
}

static void reap_processes(struct run *run)
{
	int status;

	while (waitpid(-1, &status, WNOHANG) > 0) {
		run->left--;
		if (status != 0)
			fail(run, WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO);
	}
}

/* Lets all begin when the slowest one has connected. */
static void release_processes(struct run *run, uint64_t now_ns)
{
	collect(&run->load, &run->now);
	if (!run->now.ready)
		return;
	run->reported_ns = now_ns;
	run->load.series.start_ns = now_ns;
	__atomic_store_n(&run->load.shared->start_ns, now_ns, __ATOMIC_RELEASE);
}

static bool has_intervals(const struct run *run)
{
	return run->load.progress || run->load.series.path;
}

/* When the next second since the start is over. */
static uint64_t interval_end_ns(const struct run *run)
{
	uint64_t start_ns = run->load.shared->start_ns;

	return run->reported_ns - (run->reported_ns - start_ns) % PROGRESS_NS + PROGRESS_NS;
}

/* At the end of a second, or before it because a signal asks. */
static void report_interval(struct run *run, uint64_t now_ns, bool asked)
{
	collect(&run->load, &run->now);
	if (asked || run->load.progress)
		report_progress(run, now_ns - run->load.shared->start_ns,
				now_ns - run->reported_ns);
	if (!report_heard(run->load.report))
		stop(run);
	if (asked && has_intervals(run))
		return;
	add_row(run, now_ns);
	run->before = run->now;
	run->reported_ns = now_ns;
}

/* Waits until every process has ended; shows progress meanwhile. */
static void watch_processes(struct run *run)
{
	struct pollfd polls[1];

	while (run->left > 0) {
		bool started = run->load.shared->start_ns > 0;
		uint64_t wake_ns = has_intervals(run) ? interval_end_ns(run) : UINT64_MAX;
		uint64_t now_ns;
		bool asked;
		int r;

		if (!started)
			wake_ns = clock_now_ns() + START_POLL_NS;
		r = interrupt_poll(polls, 0, wake_ns);
		if (r < 0)
			fail(run, r);
		if (interrupt_ended() < 0)
			stop(run);
		reap_processes(run);
		now_ns = clock_now_ns();
		asked = started && interrupt_asked();
		if (!started)
			release_processes(run, now_ns);
		else if (asked || (now_ns >= wake_ns && run->left > 0))
			report_interval(run, now_ns, asked);
		if (asked)
			terminal_keep();
	}
}

static int run_load(struct run *run)
{
	struct load *load = &run->load;
	size_t tallies = sizeof(struct load_shared) + load->processes * sizeof(struct load_tally);
	size_t size = tallies + load->connections * sizeof(struct load_flow_tally);
	uint8_t *table = payload_table_new(load->size_bytes);
	uint64_t start_ns;
	uint64_t ended_ns;

	load->table = table;
	load->shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!table || load->shared == MAP_FAILED) {
		free(table);
		return -ENOMEM;
	}
	load->flows = (struct load_flow_tally *)((char *)load->shared + tallies);
	payload_share();
	start_processes(run);
	watch_processes(run);
	ended_ns = clock_now_ns();
	start_ns = load->shared->start_ns;
	collect(load, &run->now);
	/* What is left of the last second. */
	if (start_ns > 0)
		add_row(run, ended_ns);
	if (run->error == 0 || start_ns > 0)
		report_summary(load, &run->now, start_ns > 0 ? ended_ns - start_ns : 0);
	run->holds = run->error == 0 && judge(load, &run->now);
	munmap(load->shared, size);
	free(table);
	return run->error;
}

/* Returns COMMAND_PROCEED, or STATUS_USAGE after saying why. */
static int refuse_mix(struct invocation *invocation, const struct load *load)
{
	const char *why = NULL;

	if (!load->udp)
		why = load->window > 1 ? "--window: only with --udp" : NULL;
	else if (load->reconnect)
		why = "--reconnect: UDP has no connections";
	else if (load->size_bytes > DATAGRAM_MAX_BYTES)
		why = "--size: too large for UDP";
	else if (load->window > 1 && load->size_bytes < DATAGRAM_HEADER_BYTES)
		why = "--window: of datagrams below 24 bytes one is on its way at a time";
	else if (load->connections > 1 && dial_path.source_port > 0)
		why = "--source-port: each flow has its own";
	return why ? command_usage_error(invocation, "%s", why) : COMMAND_PROCEED;
}

/* This side cannot go on. */
static void say_why(const struct load *load, int error)
{
	report_error(load->report, "load: %s", report_why(-error));
	if (error == -EMFILE)
		report_error(load->report, "load: each of %" PRIu64 " processes needs about %"
			     PRIu64, load->processes,
			     load->connections / load->processes + DESCRIPTORS);
}

static int run(struct invocation *invocation)
{
	static struct run run = {
		.load = {
			.connections = 8, .window = 1, .size_bytes = 64,
			.timeout_us = 5 * CLOCK_US_PER_S, .require.of_load = true,
		},
	};
	struct report *report = &invocation->globals.report;
	struct load *load = &run.load;
	struct address_spec target;
	struct dial dial;
	int status;
	int r;

	status = command_parse_target(invocation, take, load, &target);
	load->named = invocation->argv[0];
	load->udp = invocation->globals.udp;
	if (status == COMMAND_PROCEED)
		status = refuse_mix(invocation, load);
	if (status != COMMAND_PROCEED)
		return status;
	if (load->duration_us == 0)
		load->duration_us = load->messages > 0 ? DURATION_WITH_COUNT_US : DURATION_US;
	if (load->processes == 0)
		load->processes = default_processes();
	if (load->processes > load->connections)
		load->processes = load->connections;
	load->dial = dial_options_within(&invocation->globals, load->timeout_us);
	if (interrupt_open(report, invocation->globals.deadline_us, true) < 0 ||
	    series_open(&load->series, "sent,ok,lost,p50_ms,p90_ms,p99_ms,p99.9_ms,max_ms,"
			"retransmits", report) < 0)
		return STATUS_LOCAL;
	/* One connection finds out which address answers; the load follows it. */
	status = dial_target(report, &target, &load->dial, &dial);
	if (status != COMMAND_PROCEED)
		return status;
	fd_close(dial.fd);
	load->target = dial.attempts[dial.winner].target;
	dial_peer(&dial, load->peer);
	load->report = report;
	load->terminal = terminal_obeys(STDERR_FILENO);
	load->progress |= load->terminal && !report->quiet && !report->json;
	dial_raise_limit();
	r = run_load(&run);
	if (r < 0)
		say_why(load, r);
	if (!series_close(&load->series) || r < 0)
		return STATUS_LOCAL;
	return run.holds ? STATUS_OK : STATUS_FAILED;
}

const struct command command_load = {
	.name = "load",
	.operands = "ADDRESS",
	.summary = "many connections at a fixed rate or as fast as they go",
	.help = help,
	.long_options = options,
	.path = &dial_path_options,
	.run = run,
	.has_udp = true,
};
