/* SPDX-License-Identifier: MIT */
/* The command line and the course that send, halfclose, trace and sweep have in common. */
#ifndef ECHOCTL_SESSION_SESSION_COMMAND_H
#define ECHOCTL_SESSION_SESSION_COMMAND_H

#include "echoctl/command_line/command.h"
#include "echoctl/dial/dial.h"
#include "echoctl/session/session.h"

#define SESSION_SIZE_MAX_BYTES (1024u * 1024u * 1024u)
#define SESSION_PROBE_TIMEOUT_US (10u * 1000000u)	/* default of those that send a pattern */

enum {
	OPTION_DRAIN_TIMEOUT = OPTION_OWN,
	OPTION_SESSION_OWN,		/* where the values of such a command's others start */
};

/* Rows for long_options; session_command_take() takes them. */
#define SESSION_OPTION_DRAIN_TIMEOUT						\
	{"drain-timeout", required_argument, NULL, OPTION_DRAIN_TIMEOUT}
#define SESSION_OPTION_SIZE {"size", required_argument, NULL, 's'}
#define SESSION_OPTION_SOURCE {"source", required_argument, NULL, 'S'}

struct session_command {
	uint64_t size_bytes;		/* where the command has SESSION_OPTION_SIZE */
	uint64_t drain_timeout_us;
	uint64_t deadline_us;		/* of the global options */
	const char *operand;		/* ADDRESS as it was given, for people */
	struct address_spec target;
	struct dial_options dialling;
};

/* As command_take, for the options above alone. */
const char *session_command_take(struct session_command *command, int option, const char *value);

/*
 * Parses by take(settings, ...) and fills target and dialling. Returns COMMAND_PROCEED or the
 * exit status.
 */
int session_command_parse(struct invocation *invocation, command_take take, void *settings,
			  struct session_command *command);

/* The same, and from here on signals end things in order. */
int session_command_start(struct invocation *invocation, command_take take, void *settings,
			  struct session_command *command);

/* A session that sends a pattern and its FIN and verifies what comes back. */
struct session_options session_command_probe(const struct session_command *command,
					     enum pattern pattern, uint64_t bytes);

#endif
