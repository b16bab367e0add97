/* SPDX-License-Identifier: MIT */
/* echoctl reload: new settings come into force, and what came of it is said. */
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "echoctl/daemon/client.h"

#define TIMEOUT_DEFAULT_US (UINT64_C(60) * CLOCK_US_PER_S)

static const char help[] =
	"Makes the local echod read its settings again and waits until they are in force.\n"
	"What is wrong with the file is printed as \"echod -t\" does, the old settings\n"
	"stay then. No connection is lost. When echod itself has changed on disk the new\n"
	"program takes over at the same time.\n"
	"\n"
	"      --timeout TIME          wait no longer (1min)\n"
	"\n"
	"Exit status: 0 in force, 1 the old settings stay.\n"
	"\n"
	"Example:\n"
	"  echoctl reload && echoctl status\n";

static int ask(struct control_client *client, const char *command, uint64_t timeout_us,
	       struct reply **ret_reply)
{
	int error = control_ask(client, control_request(command));

	if (error < 0 && error != -EPIPE && error != -ECONNRESET)
		return error;
	return control_read(client, timeout_us, ret_reply);
}

/*
 * The connection ended: a new program takes over, which keeps the socket and reloads by itself.
 * Asked once more, it tells how that went. Returns 0 or -errno; *ret_status: an exit status
 * when it could not be reached.
 */
static int ask_successor(struct control_client *client, uint64_t timeout_us,
			 struct reply **ret_reply, int *ret_status)
{
	*ret_status = control_connect(client);
	if (*ret_status != COMMAND_PROCEED)
		return 0;
	return ask(client, "reload", timeout_us, ret_reply);
}

static int conclude(struct control_client *client, struct report *report,
		    struct reply *reply, bool taken_over)
{
	int status = control_judge(client, report, reply);

	if (status != COMMAND_PROCEED)
		return status;
	for (size_t i = 0; i < reply_count(reply, "problems"); i++)
		fprintf(stderr, "%s\n", reply_item_text(reply, "problems", i));
	if (!reply_flag(reply, "ok")) {
		report_error(report, "the reload failed, the old settings stay in force%s",
			     reply_count(reply, "problems") ? "" : "; the log says why");
		return STATUS_FAILED;
	}
	report_text(report, "new settings are in force%s\n",
		    taken_over ? ", a new program has taken over" : "");
	return STATUS_OK;
}

static int reload(struct control_client *client, struct report *report, uint64_t timeout_us)
{
	struct reply *reply = NULL;
	bool taken_over = false;
	int status = COMMAND_PROCEED;
	int error = ask(client, "reload", timeout_us, &reply);

	if (error == -ECONNRESET) {
		taken_over = true;
		error = ask_successor(client, timeout_us, &reply, &status);
	}
	if (status == COMMAND_PROCEED)
		status = error < 0 ? control_failed(client, error) :
				     conclude(client, report, reply, taken_over);
	reply_free(reply);
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
		status = reload(&client, &invocation->globals.report, timeout_us);
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
