/* SPDX-License-Identifier: MIT */
/* echoctl status: what the daemon does, once or each second. */
#include <unistd.h>

#include "base/clock.h"
#include "echoctl/daemon/status_screen.h"
#include "echoctl/daemon/watch.h"

#define INTERVAL_US CLOCK_US_PER_S

static const char *take(void *data, int option, const char *value)
{
	uint64_t *interval_us = data;

	(void)option;
	(void)value;
	*interval_us = INTERVAL_US;
	return NULL;
}

static int show(struct watch *watch, void *data)
{
	struct status_history *history = data;
	const json_t *reply = watch->client.reply;
	char *text = NULL;
	size_t size = 0;
	FILE *stream;

	if (watch->client.report->json)
		return control_judge(&watch->client);
	stream = open_memstream(&text, &size);
	if (stream) {
		status_history_add(history, reply);
		status_screen_draw(stream, reply, history, terminal_size(STDOUT_FILENO).ws_col,
				   terminal_has_blocks());
		fclose(stream);
	}
	return watch_show(watch, text);
}

static int run(struct invocation *invocation)
{
	struct watch watch = { .client = control_client(&invocation->globals) };
	struct status_history history = {0};
	int status = command_parse_alone(invocation, take, &watch.interval_us);

	if (status != COMMAND_PROCEED)
		return status;
	return watch_run(&watch, "status", show, &history);
}

const struct command command_status = {
	.name = "status",
	.operands = "",
	.summary = "what the local daemon does, on one screen",
	.help =
	"Shows what the local echod does: its sockets, generations and settings, the\n"
	"connections and the limit, bytes, why connections ended or were refused,\n"
	"datagrams and why they were dropped, and what its log left out; with --watch\n"
	"also the rates of the last minute, as far as it has watched.\n"
	"\n"
	"  -w, --watch                 again each second, until interrupted\n"
	"\n"
	"Example:\n"
	"  echoctl status --watch\n",
	.long_options = (const struct option[]){
		{"watch", no_argument, NULL, 'w'},
		{0},
	},
	.run = run,
};
