/* SPDX-License-Identifier: MIT */
/* The command line that all commands share. */
#include "echoctl/command_line/command.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"

#define OPTIONS_MAX 64
#define LETTERS_MAX (3 * OPTIONS_MAX + 3)

/* getopt values, below the letters and above them, and below OPTION_GROUP. */
enum {
	OPTION_JSON = 1,
	OPTION_CONNECT_TIMEOUT,
	OPTION_CONTROL,
	OPTION_COLOR,
	OPTION_SHADOWED = 256,	/* a global letter that the command uses itself */
};

static const struct option global_options[] = {
	{"json", no_argument, NULL, OPTION_JSON},
	{"ipv4", no_argument, NULL, '4'},
	{"ipv6", no_argument, NULL, '6'},
	{"udp", no_argument, NULL, 'u'},
	{"connect-timeout", required_argument, NULL, OPTION_CONNECT_TIMEOUT},
	{"control", required_argument, NULL, OPTION_CONTROL},
	{"color", required_argument, NULL, OPTION_COLOR},
	{"quiet", no_argument, NULL, 'q'},
	{"deadline", required_argument, NULL, 'w'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{0},
};

static const char global_help[] =
	"Global options:\n"
	"      --json                  results as JSON, one object a line\n"
	"  -4, --ipv4                  use IPv4 only\n"
	"  -6, --ipv6                  use IPv6 only\n"
	"  -u, --udp                   datagrams in place of a connection\n"
	"      --connect-timeout TIME  for resolving and connecting together (10s)\n"
	"      --control PATH          control socket of the local daemon\n"
	"      --color WHEN            failures in red: auto, always or never\n"
	"  -q, --quiet                 no progress, summary or remark on stderr\n"
	"  -w, --deadline TIME         limit for the whole command, whatever it waits for\n"
	"  -h, --help                  this help\n"
	"  -V, --version               the version\n";

/* Reads a value within bounds; why: reasons for malformed, too small and too large. */
static const char *take_bounded(const char *value, int (*parse)(const char *, uint64_t *),
				uint64_t min, uint64_t max, uint64_t *ret_value,
				const char *const why[3])
{
	uint64_t parsed = 0;
	int r = parse(value, &parsed);

	if (r == -EDOM || (r == 0 && parsed < min))
		return why[1];
	if (r == -ERANGE || parsed > max)
		return why[2];
	if (r < 0)
		return why[0];
	*ret_value = parsed;
	return NULL;
}

const char *command_take_duration(const char *value, uint64_t min_us, uint64_t max_us,
				  uint64_t *ret_us)
{
	static const char *const why[] = {
		"not a duration (as 90s, 250ms, 1min 30s)", "too short", "too long"
	};

	return take_bounded(value, duration_parse, min_us, max_us, ret_us, why);
}

const char *command_take_timeout(const char *value, uint64_t *ret_us)
{
	return command_take_duration(value, 1, UINT64_MAX, ret_us);
}

const char *command_take_size(const char *value, uint64_t min, uint64_t max, uint64_t *ret_bytes)
{
	static const char *const why[] = {
		"not a size (as 1000, 64K, 1M)", "too small", "too large"
	};

	return take_bounded(value, size_parse, min, max, ret_bytes, why);
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

const char *command_take_list(const char *value,
			      const char *(*take_one)(void *settings, const char *word),
			      void *settings)
{
	const char *why = NULL;
	char word[64];

	while (!why && value) {
		const char *comma = strchr(value, ',');
		size_t length = comma ? (size_t)(comma - value) : strlen(value);

		if (length >= sizeof(word))
			return "too long";
		snprintf(word, sizeof(word), "%.*s", (int)length, value);
		why = take_one(settings, word);
		value = comma ? comma + 1 : NULL;
	}
	return why;
}

/*
 * Writes host:echo as host:7, services(5). Returns whether value ends in the name of a service;
 * the last part of an IPv6 address without brackets is none.
 */
static bool number_service(const char *value, char *text, size_t size)
{
	const char *colon = strrchr(value, ':');
	const struct servent *service = colon ? getservbyname(colon + 1, "tcp") : NULL;

	if (!service || (*value != '[' && strchr(value, ':') != colon))
		return false;
	snprintf(text, size, "%.*s:%u", (int)(colon - value), value,
		 ntohs((uint16_t)service->s_port));
	return true;
}

/* Returns NULL, or what is wrong with it. */
static const char *read_target(const char *value, int default_port,
			       struct address_spec *ret_target)
{
	char numeric[ADDRESS_HOST_MAX + sizeof("[]:65535")];
	const char *why = NULL;
	int r;

	if (strncmp(value, "unix:", 5) == 0)
		return address_parse_unix(value + 5, ret_target, &why) < 0 ? why : NULL;
	r = address_parse(value, default_port, ret_target, &why);
	if (r == -EINVAL && number_service(value, numeric, sizeof(numeric)))
		r = address_parse(numeric, default_port, ret_target, &why);
	if (r < 0)
		return why;
	if (ret_target->is_wildcard)
		return "an address to listen on, not to reach";
	if (ret_target->port == 0)
		return "nothing can be reached at port 0";
	return NULL;
}

int command_take_target(struct invocation *invocation, const char *value, int default_port,
			struct address_spec *ret_target)
{
	const struct globals *globals = &invocation->globals;
	const char *why = read_target(value, default_port, ret_target);

	if (why)
		return command_usage_error(invocation, "%s: %s", value, why);
	if (ret_target->is_unix && globals->path_option)
		return command_usage_error(invocation, "--%s%s%s: a Unix socket is reached from "
					   "no address and by no packets", globals->path_option,
					   globals->path_value ? " " : "",
					   globals->path_value ? globals->path_value : "");
	if (ret_target->is_unix && globals->udp)
		return command_usage_error(invocation, "--udp: %s is reached by connections only",
					   value);
	return COMMAND_PROCEED;
}

static const char *take_color(const char *value, enum report_color *ret_color)
{
	static const char *const names[] = {
		[COLOR_AUTO] = "auto",
		[COLOR_ALWAYS] = "always",
		[COLOR_NEVER] = "never",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(value, names[i]) != 0)
			continue;
		*ret_color = (enum report_color)i;
		return NULL;
	}
	return "none of auto, always, never";
}

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
	case 'u':
		globals->udp = true;
		return NULL;
	case OPTION_COLOR:
		return take_color(value, &globals->report.color);
	case 'q':
		globals->report.quiet = true;
		return NULL;
	case 'w':
		return command_take_timeout(value, &globals->deadline_us);
	case OPTION_CONNECT_TIMEOUT:
		globals->connect_timeout_given = true;
		return command_take_timeout(value, &globals->connect_timeout_us);
	default:
		globals->control_path = value;
		return *value ? NULL : "the path is empty";
	}
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

static bool has_option(const struct option *list, int option)
{
	while (list && list->name && list->val != option)
		list++;
	return list && list->name;
}

static bool is_own(const struct command *command, int option)
{
	return command && has_option(command->long_options, option);
}

static bool is_of_path(const struct command *command, int option)
{
	return command && command->path && has_option(command->path->long_options, option);
}

/*
 * The command's options, those of the path, then the global ones; a letter that both have is the
 * command's. In front of the command its name ends them.
 */
static void merge_options(const struct command *command, struct option *list, char *letters)
{
	const struct option *own = command ? command->long_options : NULL;
	size_t n = 0;

	for (; own && own->name; own++)
		list[n++] = *own;
	for (own = command && command->path ? command->path->long_options : NULL;
	     own && own->name; own++)
		list[n++] = *own;
	for (const struct option *global = global_options; global->name; global++) {
		list[n] = *global;
		if (is_own(command, global->val))
			list[n].val += OPTION_SHADOWED;
		n++;
	}
	assert(n < OPTIONS_MAX);
	list[n] = (struct option){0};
	letters = stpcpy(letters, command ? ":" : "+:");
	for (size_t i = 0; i < n; i++) {
		if (list[i].val <= OPTION_COLOR || list[i].val >= OPTION_SHADOWED)
			continue;
		*letters++ = (char)list[i].val;
		for (int colon = 0; colon < list[i].has_arg; colon++)
			*letters++ = ':';
	}
	*letters = '\0';
}

static int refuse_option(struct invocation *invocation, int option)
{
	const char *word = invocation->argv[optind - 1];

	if (option == ':')
		return command_usage_error(invocation, "%s: needs a value", word);
	if (optopt > OPTION_COLOR && optopt < OPTION_SHADOWED)
		return command_usage_error(invocation, "-%c: no such option", optopt);
	return command_usage_error(invocation, "%s: no such option, or ambiguous", word);
}

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
		"Exit status: 0 success, 1 the echo failed, 2 target not reached, 3 usage,\n"
		"4 local error. 'echoctl COMMAND --help' says more about each.\n"
		"Example: echo hello | echoctl localhost\n", global_help);
}

void command_print_help(const struct command *command)
{
	printf("Usage: echoctl [GLOBAL OPTIONS] %s [OPTIONS]%s%s\n\n%s\n%s%s%s", command->name,
	       command->operands[0] != '\0' ? " " : "", command->operands, command->help,
	       command->path ? command->path->help : "", command->path ? "\n" : "", global_help);
}

static int show_help(const struct invocation *invocation)
{
	if (invocation->command)
		command_print_help(invocation->command);
	else
		command_print_usage(invocation->commands, stdout);
	return STATUS_OK;
}

static const char *take_of_path(struct invocation *invocation, const struct option *option,
				const char *value)
{
	const struct option_group *path = invocation->command->path;

	invocation->globals.path_option = option->name;
	invocation->globals.path_value = value;
	if (option->val >= path->first_of_tcp)
		invocation->globals.tcp_option = option->name;
	return path->take(path->settings, option->val, value);
}

/* COMMAND_PROCEED or an exit status, for one option. */
static int take_option(struct invocation *invocation, const struct option *list, int option,
		       command_take take, void *settings)
{
	const char *why = NULL;

	while (list->val != option)
		list++;
	if (is_own(invocation->command, option)) {
		why = take(settings, option, optarg);
	} else if (is_of_path(invocation->command, option)) {
		why = take_of_path(invocation, list, optarg);
	} else if (option % OPTION_SHADOWED == 'h') {
		return show_help(invocation);
	} else if (option % OPTION_SHADOWED == 'V') {
		printf("echoctl %s\n", PACKAGE_VERSION);
		return STATUS_OK;
	} else {
		why = take_global(&invocation->globals, option % OPTION_SHADOWED, optarg);
	}
	return why ? command_usage_error(invocation, "--%s %s: %s", list->name,
					 optarg ? optarg : "", why) : COMMAND_PROCEED;
}

int command_parse(struct invocation *invocation, command_take take, void *settings)
{
	struct option list[OPTIONS_MAX];
	char letters[LETTERS_MAX];
	int option;
	int status;

	assert(take || !invocation->command || !invocation->command->long_options);
	merge_options(invocation->command, list, letters);
	optind = 0;
	opterr = 0;
	while ((option = getopt_long(invocation->argc, invocation->argv, letters, list,
				     NULL)) != -1) {
		if (option == '?' || option == ':')
			return refuse_option(invocation, option);
		status = take_option(invocation, list, option, take, settings);
		if (status != COMMAND_PROCEED)
			return status;
	}
	if (invocation->globals.udp && invocation->command && !invocation->command->has_udp)
		return command_usage_error(invocation, "--udp: no UDP form; ping, check, load, "
					   "sweep and trace have one");
	if (invocation->globals.udp && invocation->globals.tcp_option)
		return command_usage_error(invocation, "--%s: UDP has nothing of the kind",
					   invocation->globals.tcp_option);
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

	if (status != COMMAND_PROCEED)
		return status;
	if (invocation->argc == 0)
		return command_usage_error(invocation, "an ADDRESS is missing");
	if (invocation->argc > 1)
		return command_usage_error(invocation, "%s: one ADDRESS only", invocation->argv[1]);
	return command_take_target(invocation, invocation->argv[0], COMMAND_DEFAULT_PORT,
				   ret_target);
}
