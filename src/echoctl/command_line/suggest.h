/* SPDX-License-Identifier: MIT */
/* Which command a mistyped word is likely to mean. */
#ifndef ECHOCTL_COMMAND_LINE_SUGGEST_H
#define ECHOCTL_COMMAND_LINE_SUGGEST_H

struct command;

/*
 * The name of the command that is nearest to word: a slip or two of the keys away, or begun
 * with it. NULL when none is near.
 */
const char *suggest_command(const struct command *const *commands, const char *word);

#endif
