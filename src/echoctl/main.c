/* SPDX-License-Identifier: MIT */
/* echoctl: global options, then the command; an address alone is sent to. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "echoctl/command_line/command.h"
#include "echoctl/commands.h"

#define CONNECT_TIMEOUT_DEFAULT_US (10u * 1000000u)
#define CONTROL_PATH_DEFAULT "/run/echod/control"

/*
 * A standard descriptor that was closed would be taken by the next socket. What stands in for
 * it fails on use, so that a closed stream is the error that it should be.
 */
static void occupy_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
	}
}

/*
 * Global options up to the first word that is none: a command, or else the start of the
 * arguments of send. Returns COMMAND_PROCEED with argc and argv at that word, or a status.
 */
static int take_globals(struct invocation *invocation)
{
	const char *why = NULL;
	int start = 1;
	int option;

	opterr = 0;
	for (;;) {
		option = getopt_long(invocation->argc, invocation->argv,
				     "+:" COMMAND_GLOBAL_LETTERS, command_global_options, NULL);
		if (option == -1 || option == '?')
			break;
		if (option == ':')
			return command_usage_error(invocation, "%s: needs a value",
						   invocation->argv[optind - 1]);
		if (option == 'h') {
			command_print_usage(invocation->commands, stdout);
			return STATUS_OK;
		}
		if (option == 'V') {
			printf("echoctl %s\n", PACKAGE_VERSION);
			return STATUS_OK;
		}
		command_take_global(&invocation->globals, option, optarg, &why);
		if (why != NULL) {
			command_blame(invocation, optind);
			command_refuse_value(invocation, command_global_options, option, optarg,
					     why);
			return invocation->command->run(invocation);
		}
		start = optind;
	}
	/* An option that is not global is left for send, with all that follows. */
	if (option == -1)
		start = optind;
	invocation->argc -= start;
	invocation->argv += start;
	return COMMAND_PROCEED;
}

static int run_command(struct invocation *invocation)
{
	static char send_name[] = "send";
	const struct command *command;
	int status;

	if (invocation->argc == 0) {
		command_print_usage(invocation->commands, stderr);
		return STATUS_USAGE;
	}
	invocation->command = command_find(commands, invocation->argv[0]);
	if (invocation->command == NULL) {
		invocation->unnamed = invocation->argv[0][0] == '-';
		if (!invocation->unnamed)
			invocation->assumed = invocation->argv[0];
		/* The name was left out: it takes the place of the word before, now done with. */
		invocation->command = command_find(commands, send_name);
		invocation->argc++;
		*--invocation->argv = send_name;
	}
	command = invocation->command;
	status = command->run(invocation);
	/* An option that is not one of send's either was meant for the command behind it. */
	if (invocation->command != command)
		status = invocation->command->run(invocation);
	return status;
}

int main(int argc, char **argv)
{
	struct invocation invocation = {
		.commands = commands,
		.globals = {
			.family = AF_UNSPEC,
			.connect_timeout_us = CONNECT_TIMEOUT_DEFAULT_US,
			.control_path = CONTROL_PATH_DEFAULT,
		},
		.argc = argc,
		.argv = argv,
	};
	int status;

	occupy_standard_descriptors();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	invocation.command = command_find(commands, "send");
	status = take_globals(&invocation);
	if (status == COMMAND_PROCEED)
		status = run_command(&invocation);
	if (report_finish(&invocation.globals.report))
		return status;
	if (invocation.command->status_unwritten != 0)
		return invocation.command->status_unwritten;
	return STATUS_LOCAL;
}
