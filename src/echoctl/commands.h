/* SPDX-License-Identifier: MIT */
/* The table of commands. */
#ifndef ECHOCTL_COMMANDS_H
#define ECHOCTL_COMMANDS_H

#include "echoctl/command_line/command.h"

/* Ends with NULL. */
extern const struct command *const commands[];

#endif
