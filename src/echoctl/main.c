/* SPDX-License-Identifier: MIT */
/* echoctl: global options, then one of the commands; an address alone is sent to. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "echoctl/command_line/command.h"
#include "echoctl/probe/interrupt.h"
#include "echoctl/probe/payload.h"

#define CONNECT_TIMEOUT_DEFAULT_US (10u * 1000000u)
#define CONTROL_PATH_DEFAULT "/run/echod/control"
#define SLIPS_MAX 2		/* with more wrong letters it is another word */
#define BEGINNING_MIN 3		/* fewer letters begin too many words */

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
extern const struct command command_plot;
extern const struct command command_reload;
extern const struct command command_send;
extern const struct command command_status;
extern const struct command command_sweep;
extern const struct command command_trace;

static const struct command command_help;

/* In the order in which the help shows them. */
static const struct command *const commands[] = {
	&command_send,
	&command_ping,
	&command_check,
	&command_halfclose,
	&command_trace,
	&command_sweep,
	&command_load,
	&command_idle,
	&command_plot,
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

static const struct command *find(const char *name)
{
	for (const struct command *const *i = commands; *i; i++) {
		if (strcmp((*i)->name, name) == 0)
			return *i;
	}
	return NULL;
}

/*
 * The letters of the longer one without the common beginning and end; 1 for a word that is the
 * beginning of a name.
 */
static size_t difference(const char *word, const char *name)
{
	size_t length = strlen(word);
	size_t of_name = strlen(name);
	size_t shorter = length < of_name ? length : of_name;
	size_t start = 0;
	size_t end = 0;

	while (start < shorter && word[start] == name[start])
		start++;
	while (end < shorter - start && word[length - 1 - end] == name[of_name - 1 - end])
		end++;
	if (start == length && length >= BEGINNING_MIN)
		return 1;
	return (length > of_name ? length : of_name) - start - end;
}

/* Suggests the command that the word probably means, if any. Returns whether it did. */
static bool suggest(const struct invocation *invocation, const char *word)
{
	const char *nearest = NULL;
	size_t least = SLIPS_MAX + 1;

	for (const struct command *const *i = commands; *i; i++) {
		size_t letters = difference(word, (*i)->name);

		if (letters < least) {
			least = letters;
			nearest = (*i)->name;
		}
	}
	if (nearest)
		report_error(&invocation->globals.report, "did you mean the command '%s'?",
			     nearest);
	return nearest;
}

static int refuse_word(const struct invocation *invocation, const char *word)
{
	const struct report *report = &invocation->globals.report;

	report_error(report, "%s: no such command", word);
	if (!suggest(invocation, word))
		report_error(report, "'echoctl --help' shows the commands");
	return STATUS_USAGE;
}

static int help(struct invocation *invocation)
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
	command = find(invocation->argv[0]);
	if (!command)
		return refuse_word(invocation, invocation->argv[0]);
	command_print_help(command);
	return STATUS_OK;
}

static const struct command command_help = {
	.name = "help",
	.operands = "[COMMAND]",
	.summary = "this text, or more about a command",
	.help =
	"Shows what --help shows: the commands, or one of them.\n"
	"\n"
	"Example:\n"
	"  echoctl help ping\n",
	.run = help,
};

/*
 * If a standard descriptor is closed the next socket would take its number. Opens a file there that
 * fails on use, so that a closed stream is an error.
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
		command_print_usage(commands, stderr);
		return STATUS_USAGE;
	}
	invocation->command = find(word);
	if (invocation->command)
		return invocation->command->run(invocation);
	if (invocation->argc > 1 && invocation->argv[1][0] != '-')
		return refuse_word(invocation, word);
	/* The name of send replaces the word before, which is not needed any more. */
	invocation->command = find(send_name);
	invocation->argc++;
	*--invocation->argv = send_name;
	status = invocation->command->run(invocation);
	if (status == STATUS_UNREACHED || status == STATUS_USAGE)
		suggest(invocation, word);
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
	if (payload_saw_proxy())
		report_error(&invocation.globals.report, "the echo begins with a PROXY header: "
			     "the server is not told to expect one (proxy { trust } of echod)");
	if (payload_was_refused())
		report_note(&invocation.globals.report, "closed before any echo: an access list, a "
			    "limit (in all, per source, rate) or no echo service? echod counts what "
			    "it refuses: 'echoctl status' there");
	interrupt_close();
	if (report_finish(&invocation.globals.report))
		return status == COMMAND_PROCEED ? STATUS_OK : status;
	if (invocation.command && invocation.command->status_unwritten != 0)
		return invocation.command->status_unwritten;
	return STATUS_LOCAL;
}
