/* SPDX-License-Identifier: MIT */
/* echoctl metrics: the daemon's counters for a monitoring system. */
#include "echoctl/daemon/client.h"

static const char help[] =
	"Prints the counters of the local echod as OpenMetrics text. The daemon writes\n"
	"them, as text for the node exporter, to the file that metrics { file } names in\n"
	"echod.conf(5).\n"
	"\n"
	"Example:\n"
	"  echoctl metrics | grep connections_live\n";

static int run(struct invocation *invocation)
{
	json_t *reply = NULL;
	int status = command_parse_alone(invocation, NULL, NULL);

	if (status != COMMAND_PROCEED)
		return status;
	status = control_exchange(&invocation->globals, control_request("metrics"), &reply);
	if (status != COMMAND_PROCEED)
		return status;
	report_text(&invocation->globals.report, "%s", control_text(reply, "text"));
	json_decref(reply);
	return STATUS_OK;
}

const struct command command_metrics = {
	.name = "metrics",
	.operands = "",
	.summary = "counters of the local daemon as OpenMetrics text",
	.help = help,
	.run = run,
};
