/* SPDX-License-Identifier: MIT */
/* The table of commands, in the order in which the help shows them, and help itself. */
#include "echoctl/commands.h"

#include <stdio.h>

extern const struct command command_check;
extern const struct command command_drain;
extern const struct command command_halfclose;
extern const struct command command_idle;
extern const struct command command_kill;
extern const struct command command_list;
extern const struct command command_load;
extern const struct command command_log_level;
extern const struct command command_metrics;
extern const struct command command_ping;
extern const struct command command_reload;
extern const struct command command_send;
extern const struct command command_status;
extern const struct command command_sweep;
extern const struct command command_trace;

static const char help[] =
	"Shows what --help shows: the commands, or one of them.\n"
	"\n"
	"Example:\n"
	"  echoctl help ping\n";

static int run(struct invocation *invocation)
{
	const struct command *command;
	int status = command_parse(invocation, NULL, NULL);

	if (status != COMMAND_PROCEED)
		return status;
	if (invocation->argc > 1)
		return command_usage_error(invocation, "%s: one COMMAND only", invocation->argv[1]);
	if (invocation->argc == 0) {
		command_print_usage(commands, stdout);
		return STATUS_OK;
	}
	command = command_find(commands, invocation->argv[0]);
	if (!command)
		return command_refuse_word(invocation, invocation->argv[0]);
	command_print_help(command);
	return STATUS_OK;
}

static const struct command command_help = {
	.name = "help",
	.operands = "[COMMAND]",
	.summary = "this text, or more about a command",
	.help = help,
	.run = run,
};

const struct command *const commands[] = {
	&command_send,
	&command_ping,
	&command_check,
	&command_halfclose,
	&command_trace,
	&command_sweep,
	&command_load,
	&command_idle,
	&command_status,
	&command_list,
	&command_kill,
	&command_reload,
	&command_drain,
	&command_log_level,
	&command_metrics,
	&command_help,
	NULL,
};
