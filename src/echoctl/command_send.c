/* SPDX-License-Identifier: MIT */
/* send: standard input there, what comes back to standard output. */
#include "echoctl/command.h"

#include "base/fd.h"
#include "echoctl/dial.h"

static int run(struct invocation *invocation)
{
	struct dial_options options;
	struct address_spec target;
	struct dial dial;
	int status;

	status = command_parse(invocation, NULL, NULL);
	if (status == COMMAND_PROCEED)
		status = command_address(invocation, &target);
	if (status != COMMAND_PROCEED)
		return status;
	options = dial_options(&invocation->globals);
	status = dial_target(&invocation->globals.report, &target, &options, &dial);
	if (status != COMMAND_PROCEED)
		return status;
	fd_close(dial.fd);
	return STATUS_OK;
}

const struct command command_send = {
	.name = "send",
	.operands = "ADDRESS",
	.summary = "send standard input, verify what comes back",
	.help = "",
	.run = run,
};
