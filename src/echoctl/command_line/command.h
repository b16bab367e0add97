/* SPDX-License-Identifier: MIT */
/* One struct a command, and the command line that all of them share. */
#ifndef ECHOCTL_COMMAND_LINE_COMMAND_H
#define ECHOCTL_COMMAND_LINE_COMMAND_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/address.h"
#include "echoctl/output/report.h"

/* Exit status of every command but check, which has the monitoring-plugin codes. */
enum status {
	STATUS_OK = 0,
	STATUS_FAILED = 1,	/* it ran, and the echo failed */
	STATUS_UNREACHED = 2,	/* the target was not reached */
	STATUS_USAGE = 3,
	STATUS_LOCAL = 4,	/* this side failed: input, output, memory, descriptors */
};

#define COMMAND_PROCEED (-1)	/* not an exit status: go on */
#define COMMAND_DEFAULT_PORT 7	/* echo/tcp, RFC 862 */

/* The options that every command takes, before its name or after it. */
struct globals {
	int family;			/* AF_UNSPEC, AF_INET (-4), AF_INET6 (-6) */
	uint64_t connect_timeout_us;	/* for resolving and connecting together */
	bool connect_timeout_given;	/* by the user */
	const char *path_option;	/* the last one of the path that was given, or NULL */
	const char *path_value;		/* and its value, or NULL */
	const char *tcp_option;		/* the last one of these that UDP lacks, or NULL */
	uint64_t deadline_us;		/* for the whole command; 0: none */
	bool udp;			/* only with a command that has_udp */
	const char *control_path;	/* the daemon's control socket */
	struct report report;		/* --json, -q */
};

struct command;

/*
 * Takes one option of the command: its getopt value and its argument (or NULL). Returns NULL,
 * or a static phrase that says what is wrong with the value.
 */
typedef const char *(*command_take)(void *settings, int option, const char *value);

/* Options that several commands share. */
struct option_group {
	const struct option *long_options;	/* val: a letter, or from OPTION_GROUP on */
	const char *help;
	command_take take;
	void *settings;				/* its first argument */
	int first_of_tcp;			/* from this val on UDP has nothing of the kind */
};

struct invocation {
	const struct command *const *commands;	/* all commands; ends with NULL */
	const struct command *command;		/* NULL: not yet known */
	struct globals globals;
	int argc;			/* argv[0] is the command's name; after */
	char **argv;			/* command_parse() only the operands are left */
	char wrong[512];		/* the usage error that was reported */
};

struct command {
	const char *name;
	const char *operands;		/* "ADDRESS" */
	const char *summary;		/* one phrase, lower case, no full stop */
	const char *help;		/* the command's own options and an example */
	const struct option *long_options;	/* val: its letter; ends with zeros; may be NULL */
	const struct option_group *path;	/* of a command that dials, else NULL */
	int (*run)(struct invocation *invocation);	/* exit status, COMMAND_PROCEED for 0 */
	bool has_udp;			/* takes --udp */
	int status_unwritten;		/* when results cannot be written; 0: STATUS_LOCAL */
};

/* Print the help of all commands, and of one. */
void command_print_usage(const struct command *const *commands, FILE *stream);
void command_print_help(const struct command *command);

/*
 * Parses options in any order, the global ones too; what is left in argc and argv are the operands
 * alone. Returns COMMAND_PROCEED, or the exit status to return at once (after --help or a usage
 * error, which was then reported). take may be NULL for a command without options. Without a
 * command: parses the global options in front of it; what is left begins with its name.
 */
int command_parse(struct invocation *invocation, command_take take, void *settings);

/* The same for a command with the one operand ADDRESS, port 7 when it names none. */
int command_parse_target(struct invocation *invocation, command_take take, void *settings,
			 struct address_spec *ret_target);

/* The same for a command without operands. */
int command_parse_alone(struct invocation *invocation, command_take take, void *settings);

/* Says "echoctl: ..." and where help is. Returns STATUS_USAGE. */
int command_usage_error(struct invocation *invocation, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Read values of options. Return NULL, or the phrase for command_take(). Bounds are inclusive. */
const char *command_take_duration(const char *value, uint64_t min_us, uint64_t max_us,
				  uint64_t *ret_us);
/* A time limit, which must not be 0: that would always fail. */
const char *command_take_timeout(const char *value, uint64_t *ret_us);
const char *command_take_size(const char *value, uint64_t min, uint64_t max, uint64_t *ret_bytes);
const char *command_take_number(const char *value, uint64_t min, uint64_t max,
				uint64_t *ret_number);

/* Calls take_one for each element of a list with commas, until one is wrong. */
const char *command_take_list(const char *value,
			      const char *(*take_one)(void *settings, const char *word),
			      void *settings);

/*
 * Something to connect to, as address_parse() reads it; its port may be the name of a service, the
 * path of a Unix socket any path. Returns COMMAND_PROCEED, or STATUS_USAGE after saying why.
 */
int command_take_target(struct invocation *invocation, const char *value, int default_port,
			struct address_spec *ret_target);

/* The getopt values of long options without a letter start here: in a group, of a command. */
#define OPTION_TARGETS 383	/* of targets.h */
#define OPTION_GROUP 384
#define OPTION_OWN 512

#endif
