/* SPDX-License-Identifier: MIT */
/* echoctl reload: new settings come into force, and what came of it is said. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "echoctl/daemon/client.h"

#define TIMEOUT_DEFAULT_US (UINT64_C(60) * CLOCK_US_PER_S)

static const char help[] =
	"Makes the local echod read its settings again and waits until they are in force.\n"
	"What is wrong with the file is printed as \"echod -t\" does, the old settings\n"
	"stay then; so is what does not count yet. No connection is lost. When echod\n"
	"itself has changed on disk the new program takes over at the same time.\n"
	"\n"
	"      --timeout TIME          wait no longer (1min)\n"
	"\n"
	"Exit status: 0 in force, 1 the old settings stay.\n"
	"\n"
	"Example:\n"
	"  echoctl reload && echoctl status\n";

static int conclude(struct control_client *client, json_t *reply, bool taken_over)
{
	struct report *report = &client->globals->report;
	json_t *problems = json_object_get(reply, "problems");
	int status = control_judge(client, reply);
	json_t *problem;
	size_t i;

	if (status != COMMAND_PROCEED)
		return status;
	json_array_foreach(problems, i, problem) {
		char *text = report_escape(json_is_string(problem) ?
					   json_string_value(problem) : "", false);

		fprintf(stderr, "%s\n", text ? text : "");
		free(text);
	}
	if (!json_is_true(json_object_get(reply, "ok"))) {
		report_error(report, "the reload failed, the old settings stay in force%s",
			     json_array_size(problems) > 0 ? "" : "; the log says why");
		return STATUS_FAILED;
	}
	report_text(report, "new settings are in force%s\n",
		    taken_over ? ", a new program has taken over" : "");
	return STATUS_OK;
}

static int reload(struct control_client *client, uint64_t timeout_us)
{
	json_t *reply = NULL;
	int error = control_ask(client, control_request("reload"), timeout_us, &reply);
	bool taken_over = error == -ECONNRESET;
	int status = COMMAND_PROCEED;

	/*
	 * A new program takes over, which keeps the socket and reloads by itself. If it is asked
	 * once more, it tells how that went.
	 */
	if (taken_over)
		status = control_connect(client);
	if (taken_over && status == COMMAND_PROCEED)
		error = control_ask(client, control_request("reload"), timeout_us, &reply);
	if (status == COMMAND_PROCEED)
		status = error < 0 ? control_failed(client, error) :
				     conclude(client, reply, taken_over);
	json_decref(reply);
	return status;
}

static int run(struct invocation *invocation)
{
	struct control_client client = control_client(&invocation->globals);
	uint64_t timeout_us = TIMEOUT_DEFAULT_US;
	int status = command_parse_alone(invocation, control_take_timeout, &timeout_us);

	if (status != COMMAND_PROCEED)
		return status;
	status = control_connect(&client);
	if (status == COMMAND_PROCEED)
		status = reload(&client, timeout_us);
	control_close(&client);
	return status;
}

const struct command command_reload = {
	.name = "reload",
	.operands = "",
	.summary = "bring new settings of the local daemon into force",
	.help = help,
	.long_options = control_timeout_options,
	.run = run,
};
