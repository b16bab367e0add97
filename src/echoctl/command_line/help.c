/* SPDX-License-Identifier: MIT */
/* echoctl help: what --help shows, as a command. */
#include <stdio.h>

#include "echoctl/command_line/command.h"

static const char help[] =
	"Shows what --help shows: the commands, or one of them.\n"
	"\n"
	"Example:\n"
	"  echoctl help ping\n";

void command_print_usage(const struct command *const *commands, FILE *stream)
{
	fputs("Usage: echoctl [GLOBAL OPTIONS] COMMAND [OPTIONS] ADDRESS\n"
	      "       echoctl [GLOBAL OPTIONS] ADDRESS\n\n"
	      "Says whether a path to an echo service (RFC 862) carries every byte, both ways.\n"
	      "ADDRESS is host, host:port, [v6]:port or unix:/path; the port defaults to 7.\n\n"
	      "Commands (an ADDRESS alone means send):\n", stream);
	for (; *commands; commands++)
		fprintf(stream, "  %-11s %s\n", (*commands)->name, (*commands)->summary);
	fprintf(stream, "\n%s\n"
		"Exit status: 0 all well, 1 the echo failed, 2 target not reached, 3 usage,\n"
		"4 local error. 'echoctl COMMAND --help' tells more about each.\n"
		"Example: echo hello | echoctl localhost\n", command_global_help);
}

static int run(struct invocation *invocation)
{
	const struct command *command;
	int status = command_parse(invocation, NULL, NULL);

	if (status != COMMAND_PROCEED)
		return status;
	if (invocation->argc > 1)
		return command_usage_error(invocation, "%s: one COMMAND only", invocation->argv[1]);
	if (invocation->argc == 0) {
		command_print_usage(invocation->commands, stdout);
		return STATUS_OK;
	}
	command = command_find(invocation->commands, invocation->argv[0]);
	if (command == NULL) {
		invocation->assumed = invocation->argv[0];
		return command_refuse_word(invocation);
	}
	command_print_help(command);
	return STATUS_OK;
}

const struct command command_help = {
	.name = "help",
	.operands = "[COMMAND]",
	.summary = "this text, or more about a command",
	.help = help,
	.run = run,
};
