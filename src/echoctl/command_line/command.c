/* SPDX-License-Identifier: MIT */
/* The command line that all commands share. */
#include "echoctl/command_line/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define OPTIONS_MAX 64
#define LETTERS_MAX 96
#define SLIPS_MAX 2		/* more letters make another word of it */
#define BEGINNING_MIN 3		/* fewer letters begin too much */

static const struct option global_options[] = {
	{"json", no_argument, NULL, OPTION_JSON},
	{"ipv4", no_argument, NULL, '4'},
	{"ipv6", no_argument, NULL, '6'},
	{"connect-timeout", required_argument, NULL, OPTION_CONNECT_TIMEOUT},
	{"control", required_argument, NULL, OPTION_CONTROL},
	{"quiet", no_argument, NULL, 'q'},
	{"deadline", required_argument, NULL, OPTION_DEADLINE},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{0},
};

/* Returns NULL, or what is wrong with the value. */
static const char *take_global(struct globals *globals, int option, const char *value)
{
	switch (option) {
	case OPTION_JSON:
		globals->report.json = true;
		return NULL;
	case '4':
		globals->family = AF_INET;
		return NULL;
	case '6':
		globals->family = AF_INET6;
		return NULL;
	case 'q':
		globals->report.quiet = true;
		return NULL;
	case 'w':
	case OPTION_DEADLINE:
		return command_take_timeout(value, &globals->deadline_us);
	case OPTION_CONNECT_TIMEOUT:
		globals->connect_timeout_given = true;
		return command_take_timeout(value, &globals->connect_timeout_us);
	default:
		globals->control_path = value;
		return *value ? NULL : "the path is empty";
	}
}

const struct command *command_find(const struct command *const *commands, const char *name)
{
	for (; *commands; commands++) {
		if (strcmp((*commands)->name, name) == 0)
			return *commands;
	}
	return NULL;
}

/*
 * How many letters are left of the longer one without what both begin and end with; 1 for a word
 * that a name begins with.
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

bool command_suggest(const struct invocation *invocation, const char *word)
{
	const char *nearest = NULL;
	size_t least = SLIPS_MAX + 1;

	for (const struct command *const *i = invocation->commands; *i; i++) {
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

int command_refuse_word(const struct invocation *invocation, const char *word)
{
	const struct report *report = &invocation->globals.report;

	report_error(report, "%s: no such command", word);
	if (!command_suggest(invocation, word))
		report_error(report, "'echoctl --help' shows the commands");
	return STATUS_USAGE;
}

int command_usage_error(struct invocation *invocation, const char *format, ...)
{
	const struct report *report = &invocation->globals.report;
	const char *name = invocation->command ? invocation->command->name : NULL;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(invocation->wrong, sizeof(invocation->wrong), format, arguments);
	va_end(arguments);
	report_error(report, "%s%s%s", name ? name : "", name ? ": " : "", invocation->wrong);
	report_error(report, "'echoctl %s%s--help' tells more", name ? name : "", name ? " " : "");
	return STATUS_USAGE;
}

static void append_options(struct option *list, size_t *n, const struct option *more)
{
	for (; more && more->name && *n + 1 < OPTIONS_MAX; more++)
		list[(*n)++] = *more;
	list[*n] = (struct option){0};
}

/* The letters of the command alone. */
static const char *own_letters(const struct command *command)
{
	return command && command->short_options ? command->short_options : "";
}

/*
 * The command's options, then the global ones whose letter it does not use itself. In front of the
 * command its name ends them.
 */
static void merge_options(const struct command *command, struct option *list, char *letters)
{
	const char *own = own_letters(command);
	size_t n = 0;
	size_t used;

	append_options(list, &n, command ? command->long_options : NULL);
	append_options(list, &n, global_options);
	used = (size_t)snprintf(letters, LETTERS_MAX - sizeof(COMMAND_GLOBAL_LETTERS), "%s:%s",
				command ? "" : "+", own);
	for (const char *c = COMMAND_GLOBAL_LETTERS; *c != '\0'; c++) {
		if (*c == ':' || strchr(own, *c))
			continue;
		letters[used++] = *c;
		if (c[1] == ':')
			letters[used++] = ':';
	}
	letters[used] = '\0';
}

static int refuse_option(struct invocation *invocation, int option)
{
	const char *word = invocation->argv[optind - 1];

	if (option == ':')
		return command_usage_error(invocation, "%s: needs a value", word);
	if (optopt > 0 && optopt < OPTION_JSON)
		return command_usage_error(invocation, "-%c: no such option", optopt);
	return command_usage_error(invocation, "%s: no such option, or ambiguous", word);
}

/* How the user would write the option: its long name if it has one. */
static const char *option_text(const struct option *list, int option, char *text, size_t size)
{
	snprintf(text, size, "-%c", option);
	for (; list->name; list++) {
		if (list->val == option)
			snprintf(text, size, "--%s", list->name);
	}
	return text;
}

static int show_help(const struct invocation *invocation)
{
	if (invocation->command)
		command_print_help(invocation->command);
	else
		command_print_usage(invocation->commands, stdout);
	return STATUS_OK;
}

/* COMMAND_PROCEED or an exit status, for one option. */
static int take_option(struct invocation *invocation, const struct option *list, int option,
		       command_take take, void *settings)
{
	const char *why = NULL;
	char text[64];

	if (option >= OPTION_OWN ||
	    (option < OPTION_JSON && strchr(own_letters(invocation->command), option))) {
		why = take(settings, option, optarg);
	} else if (option == 'h') {
		return show_help(invocation);
	} else if (option == 'V') {
		printf("echoctl %s\n", PACKAGE_VERSION);
		return STATUS_OK;
	} else {
		why = take_global(&invocation->globals, option, optarg);
	}
	if (!why)
		return COMMAND_PROCEED;
	return command_usage_error(invocation, "%s %s: %s",
				   option_text(list, option, text, sizeof(text)),
				   optarg ? optarg : "", why);
}

int command_parse(struct invocation *invocation, command_take take, void *settings)
{
	struct option list[OPTIONS_MAX];
	char letters[LETTERS_MAX];
	int option;
	int status;

	merge_options(invocation->command, list, letters);
	optind = 0;
	opterr = 0;
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
	if (invocation->argc > 1)
		return command_usage_error(invocation, "%s: one ADDRESS only", invocation->argv[1]);
	why = command_take_target(invocation->argv[0], COMMAND_DEFAULT_PORT, ret_target);
	if (why != NULL)
		return command_usage_error(invocation, "%s: %s", invocation->argv[0], why);
	return COMMAND_PROCEED;
}
