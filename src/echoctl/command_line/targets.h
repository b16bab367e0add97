/* SPDX-License-Identifier: MIT */
/* The targets of commands that take several: ADDRESSes and the lines of a file. */
#ifndef ECHOCTL_COMMAND_LINE_TARGETS_H
#define ECHOCTL_COMMAND_LINE_TARGETS_H

#include "echoctl/command_line/command.h"

struct target {
	char *text;			/* as it was given */
	struct address_spec spec;
};

/* All zero is an empty list. */
struct targets {
	const char *file;		/* --targets: "-" is standard input; NULL: none */
	size_t count;
	struct target *list;
};

/* A row for long_options; the command's command_take stores the value as file. */
#define TARGETS_OPTION {"targets", required_argument, NULL, OPTION_TARGETS}

/*
 * Reads the operands, then the file: one ADDRESS a line; a line that begins with # and an empty one
 * count for nothing. Returns COMMAND_PROCEED with one target at least, or the exit status after
 * saying why. The caller frees them in any case.
 */
int targets_read(struct invocation *invocation, int default_port, struct targets *targets);

void targets_free(struct targets *targets);

#endif
