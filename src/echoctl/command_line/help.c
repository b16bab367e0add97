/* SPDX-License-Identifier: MIT */
/* What --help says. */
#include <stdio.h>

#include "echoctl/command_line/command.h"

static const char global_help[] =
	"Global options:\n"
	"      --json                  results as JSON, one object a line\n"
	"  -4, --ipv4                  use IPv4 only\n"
	"  -6, --ipv6                  use IPv6 only\n"
	"      --connect-timeout TIME  for resolving and connecting together (10s)\n"
	"      --control PATH          control socket of the local daemon\n"
	"  -q, --quiet                 no progress, no summary on stderr\n"
	"  -w, --deadline TIME         end of the whole command, whatever it waits for\n"
	"  -h, --help                  this help\n"
	"  -V, --version               the version\n";

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
		"Example: echo hello | echoctl localhost\n", global_help);
}

void command_print_help(const struct command *command)
{
	printf("Usage: echoctl [GLOBAL OPTIONS] %s [OPTIONS]%s%s\n\n%s\n%s", command->name,
	       command->operands[0] != '\0' ? " " : "", command->operands, command->help,
	       global_help);
}
