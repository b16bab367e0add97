/* SPDX-License-Identifier: MIT */
/* What every command that runs a session takes and prepares. */
#include "echoctl/session/session_command.h"

#include "echoctl/probe/interrupt.h"

const char *session_command_take(struct session_command *command, int option, const char *value)
{
	switch (option) {
	case OPTION_DRAIN_TIMEOUT:
		return command_take_timeout(value, &command->drain_timeout_us);
	case 's':
		return command_take_size(value, 1, SESSION_SIZE_MAX_BYTES, &command->size_bytes);
	default:
		if (!dial_is_source(value))
			return "not a numeric address without a port";
		command->dialling.source = value;
		return NULL;
	}
}

int session_command_parse(struct invocation *invocation, command_take take, void *settings,
			  struct session_command *command)
{
	int status = command_parse_target(invocation, take, settings, &command->target);
	const char *source = command->dialling.source;

	command->operand = invocation->argv[0];
	command->dialling = dial_options(&invocation->globals);
	command->dialling.source = source;
	command->deadline_us = invocation->globals.deadline_us;
	if (status == COMMAND_PROCEED && source != NULL && command->target.is_unix)
		return command_usage_error(invocation, "--source %s: a Unix socket is reached "
					   "from no address", source);
	return status;
}

int session_command_start(struct invocation *invocation, command_take take, void *settings,
			  struct session_command *command)
{
	const struct globals *globals = &invocation->globals;
	int status = session_command_parse(invocation, take, settings, command);

	if (status == COMMAND_PROCEED &&
	    interrupt_open(&globals->report, globals->deadline_us, false) < 0)
		status = STATUS_LOCAL;
	return status;
}

struct session_options session_command_probe(const struct session_command *command,
					     enum pattern pattern, uint64_t bytes)
{
	return (struct session_options){
		.input_fd = SESSION_INPUT_PATTERN,
		.pattern = pattern,
		.pattern_bytes = bytes,
		.output_fd = SESSION_OUTPUT_NONE,
		.verify = true,
		.fin = true,
		.drain_timeout_us = command->drain_timeout_us,
	};
}
