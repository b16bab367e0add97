/* SPDX-License-Identifier: MIT */
/* echoctl ping: numbered, time-stamped probes at a fixed schedule. */
#include "echoctl/ping/ping.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "echoctl/command_line/command.h"
#include "echoctl/probe/interrupt.h"

#define INTERVAL_MIN_US 1000
#define TIME_MAX_US (UINT64_C(86400) * 365 * 1000000)
#define SIZE_MAX_BYTES (UINT64_C(1) << 20)

enum {
	OPTION_RECONNECT = OPTION_OWN,
};

static const char help[] =
	"Sends numbered probes at a fixed schedule, which a late answer does not delay,\n"
	"and verifies every byte that comes back. Any RFC 862 server will do.\n"
	"\n"
	"  -c, --count COUNT           probes to send (until stopped)\n"
	"  -i, --interval TIME         from one probe to the next (1s; at least 1ms)\n"
	"  -s, --size SIZE             bytes of a probe (64; at most 1M)\n"
	"  -W, --late TIME             an answer after this time is late (1s)\n"
	"  -D, --timestamps            print the time of day in front of each line\n"
	"      --reconnect             a connection for each probe, timed apart\n"
	"  -q, --quiet                 no line for each probe\n"
	"\n"
	"Statistics come at the end, on Ctrl-C, and on Ctrl-\\ (SIGQUIT) in between.\n"
	"Exit status: 0 all came back in time, 1 some did not, 2 not reached.\n"
	"\n"
	"Example: a hundred probes, ten milliseconds apart\n"
	"  echoctl ping -c 100 -i 10ms echo.example.net\n";

static const struct option options[] = {
	{"count", required_argument, NULL, 'c'},
	{"interval", required_argument, NULL, 'i'},
	{"size", required_argument, NULL, 's'},
	{"late", required_argument, NULL, 'W'},
	{"timestamps", no_argument, NULL, 'D'},
	{"reconnect", no_argument, NULL, OPTION_RECONNECT},
	{0},
};

static const char *take(void *data, int option, const char *value)
{
	struct ping_settings *settings = data;

	switch (option) {
	case 'c':
		return command_take_number(value, 1, UINT32_MAX, &settings->count);
	case 'i':
		return command_take_duration(value, INTERVAL_MIN_US, TIME_MAX_US,
					     &settings->interval_us);
	case 's':
		return command_take_size(value, 1, SIZE_MAX_BYTES, &settings->size_bytes);
	case 'W':
		return command_take_duration(value, INTERVAL_MIN_US, TIME_MAX_US,
					     &settings->late_us);
	case 'D':
		settings->timestamps = true;
		return NULL;
	default:
		settings->reconnect = true;
		return NULL;
	}
}

static int run_probes(struct invocation *invocation, struct ping *ping, const struct dial *dial)
{
	struct ping_tally *tally = &ping->tally;
	int error;

	ping->schedule = (struct schedule){
		.period_ns = ping->settings.interval_us * 1000, .per_period = 1,
	};
	tally->report = &invocation->globals.report;
	tally->size_bytes = ping->settings.size_bytes;
	tally->late_after_ns = ping->settings.late_us * 1000;
	tally->timestamps = ping->settings.timestamps;
	tally->connects = ping->settings.reconnect;
	dial_peer(dial, tally->peer);
	error = ping_run(ping, dial);
	if (tally->started_ns > 0)
		ping_tally_summary(tally, true);
	if (error < 0) {
		report_error(tally->report, "ping: %s", strerror(-error));
		return STATUS_LOCAL;
	}
	return ping_tally_well(tally) ? STATUS_OK : STATUS_FAILED;
}

static int run(struct invocation *invocation)
{
	struct ping_settings settings = {
		.interval_us = 1000000, .late_us = 1000000, .size_bytes = 64,
	};
	struct report *report = &invocation->globals.report;
	struct address_spec target;
	struct dial dial;
	struct ping *ping;
	int status;

	status = command_parse_target(invocation, take, &settings, &target);
	if (status != COMMAND_PROCEED)
		return status;
	ping = calloc(1, sizeof(*ping));
	if (!ping) {
		report_error(report, "ping: out of memory");
		return STATUS_LOCAL;
	}
	ping->settings = settings;
	ping->tally.host = target.host;
	ping->dial_options = dial_options(&invocation->globals);
	status = STATUS_LOCAL;
	if (interrupt_open(report, invocation->globals.deadline_us, true) == 0)
		status = dial_target(report, &target, &ping->dial_options, &dial);
	if (status == COMMAND_PROCEED)
		status = run_probes(invocation, ping, &dial);
	free(ping);
	return status;
}

const struct command command_ping = {
	.name = "ping",
	.operands = "ADDRESS",
	.summary = "probe at a fixed schedule, with percentiles",
	.help = help,
	.short_options = "c:i:s:W:D",
	.long_options = options,
	.run = run,
};
