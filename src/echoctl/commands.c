/* SPDX-License-Identifier: MIT */
/* The table of commands, in the order in which the help shows them. */
#include "echoctl/commands.h"

#include <stddef.h>

extern const struct command command_check;
extern const struct command command_drain;
extern const struct command command_halfclose;
extern const struct command command_help;
extern const struct command command_idle;
extern const struct command command_kill;
extern const struct command command_list;
extern const struct command command_load;
extern const struct command command_log_level;
extern const struct command command_metrics;
extern const struct command command_ping;
extern const struct command command_reload;
extern const struct command command_send;
extern const struct command command_status;
extern const struct command command_sweep;
extern const struct command command_trace;

const struct command *const commands[] = {
	&command_send,
	&command_ping,
	&command_check,
	&command_halfclose,
	&command_trace,
	&command_sweep,
	&command_load,
	&command_idle,
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
