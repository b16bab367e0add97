/* SPDX-License-Identifier: MIT */
/* echoctl idle: how long a silent path lives. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/command_line/command.h"
#include "echoctl/idle/idle.h"
#include "echoctl/output/terminal.h"
#include "echoctl/probe/interrupt.h"

#define MIN_DEFAULT_US CLOCK_US_PER_S
#define SILENCE_MIN_US 10000
#define SILENCE_MAX_US (UINT64_C(7) * 86400 * CLOCK_US_PER_S)
#define PARALLEL_MAX 16
#define ROUNDS_MAX 20

enum {
	OPTION_MIN = OPTION_OWN,
	OPTION_MAX,
	OPTION_TIMEOUT,
	OPTION_PARALLEL,
	OPTION_PRECISION,
};

static const char help[] =
	"Finds how long a connection may be silent before something on the path forgets\n"
	"it. Opens many connections at once, leaves each silent for another time\n"
	"(doubling from --min to --max, with steps between), then asks for an echo;\n"
	"bisects until the bounds are close. So the answer takes about as long as the\n"
	"longest silence. Keep-alive is off.\n"
	"\n"
	"      --min TIME              shortest silence (1s, but no more than --max; at\n"
	"                              least 10ms)\n"
	"      --max TIME              longest silence (10min)\n"
	"      --parallel COUNT        silences in each doubling or bisection (8)\n"
	"      --precision PERCENT     how wide the bounds may be (10)\n"
	"      --timeout TIME          no answer in this time: a black hole (5s)\n"
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
	struct idle_settings *settings = data;

	switch (option) {
	case OPTION_MIN:
		return command_take_duration(value, SILENCE_MIN_US, SILENCE_MAX_US,
					     &settings->min_us);
	case OPTION_MAX:
		return command_take_duration(value, SILENCE_MIN_US, SILENCE_MAX_US,
					     &settings->max_us);
	case OPTION_TIMEOUT:
		return command_take_duration(value, SILENCE_MIN_US, SILENCE_MAX_US,
					     &settings->timeout_us);
	case OPTION_PARALLEL:
		return command_take_number(value, 1, PARALLEL_MAX, &settings->parallel);
	default:
		return command_take_number(value, 1, 100, &settings->precision_percent);
	}
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
		report_text(idle->report, "%s: between %.3f and %.3f silent seconds kill it: %s\n",
			    peer, survives_s, (double)idle->dies_ns / 1e9, idle->how);
	if (idle->contradicted_ns > 0)
		report_text(idle->report, "but another connection survived %.3f silent seconds: "
			    "silence alone does not explain it\n",
			    (double)idle->contradicted_ns / 1e9);
}

/* Rounds until the bounds are close, what happened was seen, or a signal came. */
static int search(struct idle *idle)
{
	uint64_t silences_ns[IDLE_PROBES_MAX];
	int status = idle_round(idle, silences_ns, idle_grid(&idle->settings, silences_ns));

	for (unsigned round = 0; round < ROUNDS_MAX && status == COMMAND_PROCEED; round++) {
		if (idle->dies_ns == 0 || idle->seen || idle->stopped ||
		    idle_narrow(&idle->settings, idle->survives_ns, idle->dies_ns))
			break;
		status = idle_round(idle, silences_ns,
				    idle_bisect(&idle->settings, idle->survives_ns, idle->dies_ns,
						silences_ns));
	}
	return status;
}

static int run(struct invocation *invocation)
{
	struct report *report = &invocation->globals.report;
	struct idle idle = {
		.settings = {
			.max_us = UINT64_C(600) * CLOCK_US_PER_S,
			.timeout_us = 5 * CLOCK_US_PER_S,
			.parallel = 8,
			.precision_percent = 10,
		},
	};
	struct address_spec target;
	struct dial dial;
	int status = command_parse_target(invocation, take, &idle.settings, &target);

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
	dial_peer(&dial, idle.peer);
	idle.report = report;
	idle.progress = terminal_obeys(STDERR_FILENO) && !report->quiet && !report->json;
	status = search(&idle);
	/* A round that could not begin takes nothing from what those before it have found. */
	if (status != COMMAND_PROCEED && idle.survives_ns == 0 && idle.dies_ns == 0)
		return status;
	idle.stopped |= status != COMMAND_PROCEED;
	report_verdict(&idle);
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
	.run = run,
};
