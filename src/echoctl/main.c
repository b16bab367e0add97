/* SPDX-License-Identifier: MIT */
/* echoctl: global options, then the command; an address alone is sent to. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "echoctl/command_line/command.h"
#include "echoctl/commands.h"
#include "echoctl/probe/interrupt.h"

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

/* A word that is no command is an address to send to. */
static int run_command(struct invocation *invocation)
{
	static char send_name[] = "send";
	char *word = invocation->argv[0];
	int status;

	if (invocation->argc == 0) {
		command_print_usage(invocation->commands, stderr);
		return STATUS_USAGE;
	}
	invocation->command = command_find(commands, word);
	if (invocation->command)
		return invocation->command->run(invocation);
	if (invocation->argc > 1 && invocation->argv[1][0] != '-')
		return command_refuse_word(invocation, word);
	/* The name of send takes the place of the word before, which is done with. */
	invocation->command = command_find(commands, send_name);
	invocation->argc++;
	*--invocation->argv = send_name;
	status = invocation->command->run(invocation);
	if (status == STATUS_UNREACHED || status == STATUS_USAGE)
		command_suggest(invocation, word);
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

	setlocale(LC_CTYPE, "");
	occupy_standard_descriptors();
	report_open();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	status = command_parse(&invocation, NULL, NULL);
	if (status == COMMAND_PROCEED)
		status = run_command(&invocation);
	interrupt_close();
	if (report_finish(&invocation.globals.report))
		return status;
	if (invocation.command && invocation.command->status_unwritten != 0)
		return invocation.command->status_unwritten;
	return STATUS_LOCAL;
}
