/* SPDX-License-Identifier: MIT */
/* The command line that all commands share. */
#include "echoctl/command_line/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/duration.h"
#include "base/number.h"
#include "base/size.h"
#include "echoctl/command_line/suggest.h"

#define OPTIONS_MAX 64
#define LETTERS_MAX 96

const struct option command_global_options[] = {
	{"json", no_argument, NULL, OPTION_JSON},
	{"ipv4", no_argument, NULL, '4'},
	{"ipv6", no_argument, NULL, '6'},
	{"connect-timeout", required_argument, NULL, OPTION_CONNECT_TIMEOUT},
	{"control", required_argument, NULL, OPTION_CONTROL},
	{"quiet", no_argument, NULL, 'q'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{0},
};

const char command_global_help[] =
	"Global options:\n"
	"      --json                  results as JSON, one object a line\n"
	"  -4, --ipv4                  use IPv4 only\n"
	"  -6, --ipv6                  use IPv6 only\n"
	"      --connect-timeout TIME  for resolving and connecting together (10s)\n"
	"      --control PATH          control socket of the local daemon\n"
	"  -q, --quiet                 no progress, no summary on stderr\n"
	"  -h, --help                  this help\n"
	"  -V, --version               the version\n";

const char *command_take_duration(const char *value, uint64_t min_us, uint64_t max_us,
				  uint64_t *ret_us)
{
	uint64_t us;

	switch (duration_parse(value, &us)) {
	case 0:
		break;
	case -ERANGE:
		return "too long";
	case -EDOM:
		return "too short";
	default:
		return "not a duration (as 90s, 250ms, 1min 30s)";
	}
	if (us < min_us)
		return "too short";
	if (us > max_us)
		return "too long";
	*ret_us = us;
	return NULL;
}

const char *command_take_timeout(const char *value, uint64_t *ret_us)
{
	return command_take_duration(value, 1, UINT64_MAX, ret_us);
}

const char *command_take_size(const char *value, uint64_t min, uint64_t max, uint64_t *ret_bytes)
{
	uint64_t bytes;

	switch (size_parse(value, &bytes)) {
	case 0:
		break;
	case -ERANGE:
		return "too large";
	case -EDOM:
		return "too small";
	default:
		return "not a size (as 1000, 64K, 1M)";
	}
	if (bytes < min)
		return "too small";
	if (bytes > max)
		return "too large";
	*ret_bytes = bytes;
	return NULL;
}

const char *command_take_number(const char *value, uint64_t min, uint64_t max, uint64_t *ret_number)
{
	switch (number_parse(value, min, max, ret_number)) {
	case 0:
		return NULL;
	case -ERANGE:
		return "out of range";
	default:
		return "not a number";
	}
}

const char *command_take_target(const char *value, int default_port,
				struct address_spec *ret_target)
{
	const char *why = NULL;

	if (address_parse(value, default_port, ret_target, &why) < 0)
		return why;
	if (ret_target->is_wildcard)
		return "an address to listen on, not to reach";
	if (!ret_target->is_unix && ret_target->port == 0)
		return "nothing can be reached at port 0";
	return NULL;
}

bool command_take_global(struct globals *globals, int option, const char *value,
			 const char **ret_why)
{
	*ret_why = NULL;
	switch (option) {
	case OPTION_JSON:
		globals->report.json = true;
		return true;
	case '4':
		globals->family = AF_INET;
		return true;
	case '6':
		globals->family = AF_INET6;
		return true;
	case 'q':
		globals->report.quiet = true;
		return true;
	case OPTION_CONNECT_TIMEOUT:
		globals->connect_timeout_given = true;
		*ret_why = command_take_timeout(value, &globals->connect_timeout_us);
		return true;
	case OPTION_CONTROL:
		if (*value == '\0')
			*ret_why = "the path is empty";
		globals->control_path = value;
		return true;
	default:
		return false;
	}
}

const struct command *command_find(const struct command *const *commands, const char *name)
{
	for (; *commands; commands++)
		if (strcmp((*commands)->name, name) == 0)
			return *commands;
	return NULL;
}

bool command_suggest(const struct invocation *invocation)
{
	const char *name = NULL;

	if (invocation->assumed != NULL)
		name = suggest_command(invocation->commands, invocation->assumed);
	if (name != NULL)
		report_error(&invocation->globals.report, "did you mean the command '%s'?", name);
	return name != NULL;
}

int command_refuse_word(struct invocation *invocation)
{
	const struct report *report = &invocation->globals.report;

	report_error(report, "%s: no such command", invocation->assumed);
	if (!command_suggest(invocation))
		report_error(report, "'echoctl --help' shows the commands");
	return STATUS_USAGE;
}

void command_blame(struct invocation *invocation, int index)
{
	const struct command *command = NULL;

	for (int i = index; i < invocation->argc && command == NULL; i++)
		command = command_find(invocation->commands, invocation->argv[i]);
	if (command != NULL)
		invocation->command = command;
}

int command_usage_error(struct invocation *invocation, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(invocation->wrong, sizeof(invocation->wrong), format, arguments);
	va_end(arguments);
	report_error(&invocation->globals.report, "%s: %s", invocation->command->name,
		     invocation->wrong);
	if (!command_suggest(invocation))
		report_error(&invocation->globals.report, "'echoctl %s --help' tells more",
			     invocation->command->name);
	return STATUS_USAGE;
}

void command_print_help(const struct command *command)
{
	printf("Usage: echoctl [GLOBAL OPTIONS] %s [OPTIONS]%s%s\n\n%s\n%s", command->name,
	       command->operands[0] != '\0' ? " " : "", command->operands, command->help,
	       command_global_help);
}

static void append_options(struct option *list, size_t *n, const struct option *more)
{
	for (; more != NULL && more->name != NULL && *n + 1 < OPTIONS_MAX; more++)
		list[(*n)++] = *more;
	list[*n] = (struct option){0};
}

/* The command's options, then the global ones whose letter it does not use itself. */
static void merge_options(const struct command *command, struct option *list, char *letters)
{
	size_t n = 0;
	size_t used;

	append_options(list, &n, command->long_options);
	append_options(list, &n, command_global_options);
	used = (size_t)snprintf(letters, LETTERS_MAX - sizeof(COMMAND_GLOBAL_LETTERS), ":%s",
				command->short_options != NULL ? command->short_options : "");
	for (const char *c = COMMAND_GLOBAL_LETTERS; *c != '\0'; c++) {
		if (command->short_options == NULL || strchr(command->short_options, *c) == NULL)
			letters[used++] = *c;
	}
	letters[used] = '\0';
}

static int refuse_option(struct invocation *invocation, int option)
{
	const char *word = invocation->argv[optind - 1];

	if (invocation->unnamed)
		command_blame(invocation, optind);
	if (option == ':')
		return command_usage_error(invocation, "%s: needs a value", word);
	if (optopt > 0 && optopt < OPTION_JSON)
		return command_usage_error(invocation, "-%c: no such option", optopt);
	return command_usage_error(invocation, "%s: no such option, or ambiguous", word);
}

/* How the user would write the option: its long name where it has one. */
static const char *option_text(const struct option *list, int option, char *text, size_t size)
{
	for (; list->name != NULL; list++) {
		if (list->val == option) {
			snprintf(text, size, "--%s", list->name);
			return text;
		}
	}
	snprintf(text, size, "-%c", option);
	return text;
}

int command_refuse_value(struct invocation *invocation, const struct option *list, int option,
			 const char *value, const char *why)
{
	char text[64];

	return command_usage_error(invocation, "%s %s: %s",
				   option_text(list, option, text, sizeof(text)),
				   value != NULL ? value : "", why);
}

/* COMMAND_PROCEED or an exit status, for one option. */
static int take_option(struct invocation *invocation, const struct option *list, int option,
		       command_take take, void *settings)
{
	const char *why = NULL;
	bool own;

	own = option >= OPTION_OWN ||
	      (option < OPTION_JSON && invocation->command->short_options != NULL &&
	       strchr(invocation->command->short_options, option) != NULL);
	if (own) {
		why = take(settings, option, optarg);
	} else if (option == 'h') {
		command_print_help(invocation->command);
		return STATUS_OK;
	} else if (option == 'V') {
		return printf("echoctl %s\n", PACKAGE_VERSION) < 0 ? STATUS_LOCAL : STATUS_OK;
	} else {
		command_take_global(&invocation->globals, option, optarg, &why);
	}
	if (why == NULL)
		return COMMAND_PROCEED;
	return command_refuse_value(invocation, list, option, optarg, why);
}

int command_parse(struct invocation *invocation, command_take take, void *settings)
{
	struct option list[OPTIONS_MAX];
	char letters[LETTERS_MAX];
	int option;
	int status;

	if (invocation->wrong[0] != '\0')
		return STATUS_USAGE;
	merge_options(invocation->command, list, letters);
	optind = 0;
	for (;;) {
		option = getopt_long(invocation->argc, invocation->argv, letters, list, NULL);
		if (option == -1)
			break;
		if (option == '?' || option == ':')
			return refuse_option(invocation, option);
		status = take_option(invocation, list, option, take, settings);
		if (status != COMMAND_PROCEED)
			return status;
	}
	invocation->argc -= optind;
	invocation->argv += optind;
	return COMMAND_PROCEED;
}

int command_parse_alone(struct invocation *invocation, command_take take, void *settings)
{
	int status = command_parse(invocation, take, settings);

	if (status == COMMAND_PROCEED && invocation->argc > 0)
		status = command_usage_error(invocation, "%s: takes no operand",
					     invocation->argv[0]);
	return status;
}

int command_parse_target(struct invocation *invocation, command_take take, void *settings,
			 struct address_spec *ret_target)
{
	int status = command_parse(invocation, take, settings);
	const char *why = NULL;

	if (status != COMMAND_PROCEED)
		return status;
	if (invocation->argc == 0)
		return command_usage_error(invocation, "an ADDRESS is missing");
	/* Operands behind a word that is no command: it was hardly meant as an ADDRESS. */
	if (invocation->argc > 1 && invocation->assumed != NULL)
		return command_refuse_word(invocation);
	if (invocation->argc > 1)
		return command_usage_error(invocation, "%s: one ADDRESS only", invocation->argv[1]);
	why = command_take_target(invocation->argv[0], COMMAND_DEFAULT_PORT, ret_target);
	if (why != NULL)
		return command_usage_error(invocation, "%s: %s", invocation->argv[0], why);
	return COMMAND_PROCEED;
}
