/* SPDX-License-Identifier: MIT */
/* echoctl log-level: how much the daemon logs, until its next reload. */
#include "echoctl/daemon/client.h"

static const char help[] =
	"Sets the least important level that the local echod logs: emerg, alert, crit,\n"
	"err, warning, notice, info or debug. The next reload brings back that of\n"
	"echod.conf(5).\n"
	"\n"
	"Example:\n"
	"  echoctl log-level debug\n";

static int run(struct invocation *invocation)
{
	json_t *reply = NULL;
	json_t *request;
	int status = command_parse(invocation, NULL, NULL);

	if (status != COMMAND_PROCEED)
		return status;
	if (invocation->argc != 1)
		return command_usage_error(invocation, "name one LEVEL");
	request = control_request("log-level");
	json_object_set_new(request, "level", report_string(invocation->argv[0]));
	status = control_exchange(&invocation->globals, request, &reply);
	if (status != COMMAND_PROCEED)
		return status;
	report_text(&invocation->globals.report, "log level is %s until the next reload\n",
		    control_text(reply, "level"));
	json_decref(reply);
	return STATUS_OK;
}

const struct command command_log_level = {
	.name = "log-level",
	.operands = "LEVEL",
	.summary = "how much the local daemon logs, until its next reload",
	.help = help,
	.run = run,
};
