/* SPDX-License-Identifier: MIT */
/*
 * echoctl idle: how long a silent path lives.
 *
 * A round opens one connection for each silence, all at once; the silence of each begins with its
 * first echo. It asks each for another one when its time is over, until the shortest deadly silence
 * is known. The first round doubles from --min to --max, the others bisect what is left between the
 * longest that lived and the shortest that did not (grid.c).
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/command_line/command.h"
#include "echoctl/dial/dial.h"
#include "echoctl/idle/grid.h"
#include "echoctl/output/report.h"
#include "echoctl/probe/exchange.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/probe/payload.h"

#define MIN_DEFAULT_US CLOCK_US_PER_S
#define SILENCE_MIN_US 10000
#define SILENCE_MAX_US (UINT64_C(7) * 86400 * CLOCK_US_PER_S)
#define PARALLEL_MAX 16
#define ROUNDS_MAX 20
#define MESSAGE_BYTES 64
#define PROGRESS_NS UINT64_C(1000000000)
#define SAID_STEP 1.9		/* text reports only each doubling, not the silences between */

enum {
	OPTION_MIN = OPTION_OWN,
	OPTION_MAX,
	OPTION_TIMEOUT,
	OPTION_PARALLEL,
	OPTION_PRECISION,
};

enum state { CONNECTING, OPENING, SILENT, ASKING, ALIVE, DEAD };

struct probe {
	enum state state;
	int fd;
	uint64_t silence_ns;		/* planned; after the question, measured */
	uint64_t since_ns;
	uint64_t asked_ns;		/* before the first echo: when connecting began */
	struct exchange exchange;
	uint8_t message[MESSAGE_BYTES];
};

struct idle {
	struct idle_settings settings;
	uint64_t timeout_us;		/* for an answer */
	struct report *report;
	struct dial_address target;
	char peer[ADDRESS_TEXT_MAX];
	struct dial_options dial;
	bool progress;			/* a line on a terminal, rewritten in place */
	bool stopped;			/* by a signal */
	uint64_t survives_ns;		/* longest silence that was followed by an echo; 0: none */
	uint64_t dies_ns;		/* shortest that was not; 0: none */
	const char *how;		/* it died: "fin", "reset", "black hole", words; static */
	bool seen;			/* the end came during the silence: dies_ns is exact */
	uint64_t said_ns;		/* longest silence that text reported as survived */
	uint64_t contradicted_ns;	/* longest silence above dies_ns that lived; 0: none */
	/* of the round */
	uint64_t started_ns;
	int error;			/* -errno: a connection had no echo before any silence */
	const char *failed_phase;	/* of that */
	size_t n_probes;
	struct probe probes[IDLE_PROBES_MAX];
};

static const char help[] =
	"Finds how long a connection may be silent before something on the path forgets\n"
	"it. Opens many connections at once, leaves each silent for a different time\n"
	"(doubling from --min to --max, with steps between), then asks for an echo;\n"
	"bisects until the bounds are close. So the answer takes about as long as the\n"
	"longest silence. Keep-alive is off.\n"
	"\n"
	"      --min TIME              shortest silence (1s, but no more than --max; at\n"
	"                              least 10ms)\n"
	"      --max TIME              longest silence (10min)\n"
	"      --parallel COUNT        silences in each doubling or bisection (8)\n"
	"      --precision PERCENT     how far apart the bounds may be (10)\n"
	"      --timeout TIME          limit for an answer, and for connecting (5s); the\n"
	"                              first connection, which finds the address, has\n"
	"                              that of --connect-timeout\n"
	"\n"
	"Exit status: 0 the path survives the longest silence, 1 it does not,\n"
	"2 not reached.\n"
	"\n"
	"Example: does this path survive an hour?\n"
	"  echoctl idle --min 10s --max 1h echo.example.net\n";

static const struct option options[] = {
	{"min", required_argument, NULL, OPTION_MIN},
	{"max", required_argument, NULL, OPTION_MAX},
	{"parallel", required_argument, NULL, OPTION_PARALLEL},
	{"precision", required_argument, NULL, OPTION_PRECISION},
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
	{0},
};

static const char *take(void *data, int option, const char *value)
{
	struct idle *idle = data;
	struct idle_settings *settings = &idle->settings;

	switch (option) {
	case OPTION_MIN:
		return command_take_duration(value, SILENCE_MIN_US, SILENCE_MAX_US,
					     &settings->min_us);
	case OPTION_MAX:
		return command_take_duration(value, SILENCE_MIN_US, SILENCE_MAX_US,
					     &settings->max_us);
	case OPTION_TIMEOUT:
		return command_take_duration(value, SILENCE_MIN_US, SILENCE_MAX_US,
					     &idle->timeout_us);
	case OPTION_PARALLEL:
		return command_take_number(value, 1, PARALLEL_MAX, &settings->parallel);
	default:
		return command_take_number(value, 1, 100, &settings->precision_percent);
	}
}

static void say_result(struct idle *idle, const struct probe *probe, const char *how)
{
	double silence_s = (double)probe->silence_ns / 1e9;
	uint64_t rtt_ns = clock_now_ns() - probe->asked_ns;
	json_t *event = json_pack("{s:s, s:I, s:s, s:s?}", "event", "idle_probe",
				  "silence_ns", (json_int_t)probe->silence_ns,
				  "result", how ? "dead" : "alive", "how", how);

	if (!how)
		json_object_set_new(event, "rtt_ns", json_integer((json_int_t)rtt_ns));
	report_json(idle->report, event);
	if (how) {
		report_outcome(idle->report, true, "%.3f s silent: dead (%s)\n", silence_s, how);
	} else if ((double)probe->silence_ns >= (double)idle->said_ns * SAID_STEP ||
		   probe->silence_ns >= idle->settings.max_us * 1000) {
		idle->said_ns = probe->silence_ns;
		report_text(idle->report, "%.3f s silent: alive, echo in %.3f ms\n", silence_s,
			    (double)rtt_ns / 1e6);
	}
}

static void bury(struct idle *idle, struct probe *probe, const char *how)
{
	bool seen = probe->state == SILENT;

	if (seen)
		probe->silence_ns = clock_now_ns() - probe->since_ns;
	probe->state = DEAD;
	probe->fd = fd_close(probe->fd);
	say_result(idle, probe, how);
	if (idle->dies_ns > 0 && idle->dies_ns <= probe->silence_ns)
		return;
	if (idle->survives_ns >= probe->silence_ns) {
		idle->contradicted_ns = idle->survives_ns;
		idle->survives_ns = 0;
	}
	idle->dies_ns = probe->silence_ns;
	idle->how = how;
	idle->seen = seen;
}

static void keep(struct idle *idle, struct probe *probe)
{
	probe->state = ALIVE;
	probe->fd = fd_close(probe->fd);
	say_result(idle, probe, NULL);
	if (idle->dies_ns > 0 && probe->silence_ns > idle->dies_ns)
		idle->contradicted_ns = probe->silence_ns;
	else if (probe->silence_ns > idle->survives_ns)
		idle->survives_ns = probe->silence_ns;
}

static const char *how_of(int error)
{
	switch (error) {
	case -ENODATA:
		return "fin";
	case -ECONNRESET:
	case -EPIPE:
		return "reset";
	case -ETIMEDOUT:
		return "black hole";
	default:
		return exchange_why(error);
	}
}

static void ask(struct idle *idle, struct probe *probe)
{
	int r;

	probe->asked_ns = clock_now_ns();
	probe->silence_ns = probe->asked_ns - probe->since_ns;
	probe->state = ASKING;
	/* So few bytes always fit into a buffer that has long been empty. */
	r = exchange_send(probe->fd, &probe->exchange);
	if (r < 0)
		bury(idle, probe, how_of(r));
}

/* The round cannot go on. */
static void give_up(struct idle *idle, const char *phase, int error)
{
	idle->error = error;
	idle->failed_phase = phase;
}

static void start_connecting(struct idle *idle, struct probe *probe)
{
	enum dial_phase phase;

	probe->asked_ns = clock_now_ns();
	probe->fd = dial_start(&idle->target, &idle->dial, &phase);
	if (probe->fd < 0)
		give_up(idle, dial_phase_name(phase), probe->fd);
}

/* It has connected, and is asked for the echo that its silence begins with. */
static void take_connection(struct idle *idle, struct probe *probe)
{
	int error = 0;

	getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof(error)});
	if (error == 0)
		error = -dial_announce(probe->fd, &dial_path.announcement);
	if (error != 0) {
		give_up(idle, "connect", -error);
		return;
	}
	setsockopt(probe->fd, SOL_SOCKET, SO_KEEPALIVE, &(int){0}, sizeof(int));
	payload_fill(probe->message, MESSAGE_BYTES, probe->silence_ns, clock_now_ns());
	probe->exchange = (struct exchange){ .bytes = probe->message, .size = MESSAGE_BYTES };
	probe->state = OPENING;
	error = -exchange_send(probe->fd, &probe->exchange);
	if (error != 0)
		give_up(idle, "send", -error);
}

static void begin_silence(struct probe *probe)
{
	probe->exchange.sent_bytes = 0;
	probe->exchange.received_bytes = 0;
	probe->since_ns = clock_now_ns();
	probe->state = SILENT;
}

static void take_answer(struct idle *idle, struct probe *probe)
{
	int r = exchange_receive(probe->fd, &probe->exchange);

	if (r < 0 && probe->state == OPENING)
		give_up(idle, "echo", r);
	else if (r < 0)
		bury(idle, probe, how_of(r));
	else if (r > 0 && probe->state == OPENING)
		begin_silence(probe);
	else if (r > 0)
		keep(idle, probe);
}

static void take_event(struct idle *idle, struct probe *probe)
{
	if (probe->state == CONNECTING)
		take_connection(idle, probe);
	else
		take_answer(idle, probe);
}

/* True while the outcome of this one may change the result. */
static bool matters(const struct idle *idle, const struct probe *probe)
{
	if (probe->state == CONNECTING || probe->state == OPENING || probe->state == ASKING)
		return true;
	return probe->state == SILENT &&
		(idle->dies_ns == 0 || probe->silence_ns < idle->dies_ns);
}

/* When to ask this one or to give it up; UINT64_MAX: never. */
static uint64_t due_ns(const struct idle *idle, const struct probe *probe)
{
	if (probe->state == SILENT)
		return probe->since_ns + probe->silence_ns;
	if (probe->state == ALIVE || probe->state == DEAD)
		return UINT64_MAX;
	return probe->asked_ns + idle->timeout_us * 1000;
}

/* Its time is over. */
static void take_due(struct idle *idle, struct probe *probe)
{
	if (due_ns(idle, probe) > clock_now_ns())
		return;
	if (probe->state == SILENT)
		ask(idle, probe);
	else if (probe->state == ASKING)
		bury(idle, probe, how_of(-ETIMEDOUT));
	else
		give_up(idle, probe->state == CONNECTING ? "connect" : "echo", -ETIMEDOUT);
}

/*
 * Asks connections that were silent for long enough, gives up those that do not answer. Returns the
 * next time to look, or UINT64_MAX.
 */
static uint64_t advance(struct idle *idle, uint64_t now_ns)
{
	uint64_t wake_ns = UINT64_MAX;

	for (size_t i = 0; i < idle->n_probes; i++) {
		struct probe *probe = &idle->probes[i];
		uint64_t next_ns;

		if (!matters(idle, probe))
			continue;
		if (due_ns(idle, probe) <= now_ns) {
			/* We may be late: an end or an answer that is there now came first. */
			if (probe->state != CONNECTING)
				take_answer(idle, probe);
			take_due(idle, probe);
		}
		next_ns = due_ns(idle, probe);
		if (next_ns < wake_ns)
			wake_ns = next_ns;
	}
	return wake_ns;
}

/* Shows the state in a line that is rewritten, or, if a signal asked for it, in one that stays. */
static void show_progress(const struct idle *idle, bool asked)
{
	char text[128];
	size_t open = 0;

	if (!idle->progress && !asked)
		return;
	for (size_t i = 0; i < idle->n_probes; i++)
		open += matters(idle, &idle->probes[i]);
	snprintf(text, sizeof(text), "%.0f s: %zu connection%s silent, longest survived %.3f s",
		 (double)(clock_now_ns() - idle->started_ns) / 1e9, open, open == 1 ? "" : "s",
		 (double)idle->survives_ns / 1e9);
	if (asked)
		report_state(idle->report, "%s", text);
	else
		terminal_show("%s", text);
}

static int wait_for_events(struct idle *idle, uint64_t wake_ns)
{
	struct pollfd polls[IDLE_PROBES_MAX + 1];
	uint64_t progress_ns = clock_now_ns() + PROGRESS_NS;
	int ready;

	if (progress_ns < wake_ns)
		wake_ns = progress_ns;
	for (size_t i = 0; i < idle->n_probes; i++)
		polls[i] = (struct pollfd){
			.fd = matters(idle, &idle->probes[i]) ? idle->probes[i].fd : -1,
			.events = idle->probes[i].state == CONNECTING ? POLLOUT : POLLIN,
		};
	ready = interrupt_poll(polls, idle->n_probes, wake_ns);
	idle->stopped = interrupt_ended() < 0;
	for (size_t i = 0; i < idle->n_probes && ready > 0; i++) {
		if (polls[i].revents && matters(idle, &idle->probes[i]))
			take_event(idle, &idle->probes[i]);
	}
	return ready;
}

static int say_failure(struct idle *idle, const char *phase, int error)
{
	if (strcmp(phase, "connect") != 0)
		payload_note_end(error, 0);
	report_error(idle->report, "%s: %s before any silence: %s", idle->peer, phase,
		     exchange_why(error));
	report_failure(idle->report, idle->peer, idle->peer, phase, -error, exchange_why(error));
	if (strcmp(phase, "socket") == 0 || strcmp(phase, "poll") == 0)
		return STATUS_LOCAL;
	return strcmp(phase, "connect") == 0 ? STATUS_UNREACHED : STATUS_FAILED;
}

/*
 * Tries these silences (ascending), all at once, until the shortest deadly one is known. Returns
 * COMMAND_PROCEED or an exit status after saying why.
 */
static int run_round(struct idle *idle, const uint64_t *silences_ns, size_t n_silences)
{
	uint64_t wake_ns;
	int r;

	idle->n_probes = n_silences;
	idle->started_ns = clock_now_ns();
	for (size_t i = 0; i < n_silences; i++)
		idle->probes[i] = (struct probe){ .fd = -1, .silence_ns = silences_ns[i] };
	for (size_t i = 0; i < n_silences && idle->error == 0; i++)
		start_connecting(idle, &idle->probes[i]);
	while (idle->error == 0 && !idle->stopped) {
		wake_ns = advance(idle, clock_now_ns());
		if (wake_ns == UINT64_MAX)
			break;
		show_progress(idle, interrupt_asked());
		r = wait_for_events(idle, wake_ns);
		if (r < 0)
			give_up(idle, "poll", r);
		idle->stopped |= !report_heard(idle->report);
	}
	for (size_t i = 0; i < n_silences; i++)
		fd_close(idle->probes[i].fd);
	return idle->error < 0 && !idle->stopped ?
		say_failure(idle, idle->failed_phase, idle->error) : COMMAND_PROCEED;
}

static void report_verdict(struct idle *idle)
{
	const char *peer = idle->peer;
	double survives_s = (double)idle->survives_ns / 1e9;
	json_t *event = json_pack("{s:s, s:o, s:I, s:s?, s:b, s:b}", "event", "idle_verdict",
				  "peer", report_string(peer),
				  "survives_ns", (json_int_t)idle->survives_ns, "how", idle->how,
				  "contradicted", idle->contradicted_ns > 0,
				  "complete", !idle->stopped);

	if (idle->dies_ns > 0)
		json_object_update_new(event, json_pack("{s:I, s:b}",
							"dies_ns", (json_int_t)idle->dies_ns,
							"seen_while_silent", idle->seen));
	report_json(idle->report, event);
	if (idle->dies_ns == 0 && idle->survives_ns == 0)
		report_text(idle->report, "%s: no silence was tried to its end\n", peer);
	else if (idle->dies_ns == 0)
		report_text(idle->report, "%s: path survives at least %.3f silent seconds\n", peer,
			    survives_s);
	else
		report_outcome(idle->report, true,
			       "%s: between %.3f and %.3f silent seconds kill it: %s\n", peer,
			       survives_s, (double)idle->dies_ns / 1e9, idle->how);
	if (idle->contradicted_ns > 0)
		report_text(idle->report, "but another connection survived %.3f silent seconds: "
			    "silence alone does not explain it\n",
			    (double)idle->contradicted_ns / 1e9);
}

/* Makes rounds until the bounds are close or a signal came. */
static int search(struct idle *idle)
{
	uint64_t silences_ns[IDLE_PROBES_MAX];
	int status = run_round(idle, silences_ns, idle_grid(&idle->settings, silences_ns));

	for (unsigned round = 0; round < ROUNDS_MAX && status == COMMAND_PROCEED; round++) {
		if (idle->dies_ns == 0 || idle->stopped ||
		    idle_narrow(&idle->settings, idle->survives_ns, idle->dies_ns))
			break;
		status = run_round(idle, silences_ns,
				   idle_bisect(&idle->settings, idle->survives_ns, idle->dies_ns,
					       silences_ns));
	}
	return status;
}

static int run(struct invocation *invocation)
{
	static struct idle idle = {
		.settings = {
			.max_us = UINT64_C(600) * CLOCK_US_PER_S,
			.parallel = 8,
			.precision_percent = 10,
		},
		.timeout_us = 5 * CLOCK_US_PER_S,
	};
	struct report *report = &invocation->globals.report;
	struct address_spec target;
	struct dial dial;
	int status = command_parse_target(invocation, take, &idle, &target);

	if (status != COMMAND_PROCEED)
		return status;
	if (idle.settings.min_us == 0)	/* not given */
		idle.settings.min_us = idle.settings.max_us < MIN_DEFAULT_US ?
			idle.settings.max_us : MIN_DEFAULT_US;
	if (idle.settings.min_us > idle.settings.max_us)
		return command_usage_error(invocation, "--min lies above --max");
	idle.dial = dial_options(&invocation->globals);
	if (interrupt_open(report, invocation->globals.deadline_us, true) < 0)
		return STATUS_LOCAL;
	status = dial_target(report, &target, &idle.dial, &dial);
	if (status != COMMAND_PROCEED)
		return status;
	fd_close(dial.fd);
	idle.target = dial.attempts[dial.winner].target;
	idle.dial.timeout_us = idle.timeout_us;
	dial_peer(&dial, idle.peer);
	idle.report = report;
	idle.progress = terminal_obeys(STDERR_FILENO) && !report->quiet && !report->json;
	status = search(&idle);
	/* If a round cannot begin, the results of the rounds before it are still reported. */
	if (status == COMMAND_PROCEED || idle.survives_ns > 0 || idle.dies_ns > 0) {
		idle.stopped |= status != COMMAND_PROCEED;
		report_verdict(&idle);
	}
	if (status != COMMAND_PROCEED)
		return status;
	return idle.dies_ns > 0 || idle.stopped ? STATUS_FAILED : STATUS_OK;
}

const struct command command_idle = {
	.name = "idle",
	.operands = "ADDRESS",
	.summary = "how long a silent path lives",
	.help = help,
	.long_options = options,
	.path = &dial_path_options,
	.run = run,
};
