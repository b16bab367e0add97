/* SPDX-License-Identifier: MIT */
/* echoctl drain: ends the daemon in an orderly way and waits until that is done. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "echoctl/daemon/client.h"

#define TIMEOUT_DEFAULT_US (UINT64_C(900) * CLOCK_US_PER_S)	/* the longest drain and more */

static const char help[] =
	"Tells the local echod to accept no more connections, waits until those that live\n"
	"have ended (timeouts { drain } of echod.conf(5) at the longest), and then until the\n"
	"daemon is gone: what SIGTERM does. A socket unit of systemd stays and starts it\n"
	"again at the next connection; \"systemctl stop echod.socket\" first prevents that.\n"
	"\n"
	"      --timeout TIME          wait no longer (15min)\n"
	"\n"
	"Example:\n"
	"  echoctl drain\n";

/* The daemon says that it is done, or is gone before it can. */
static int drain(struct control_client *client, uint64_t timeout_us)
{
	uint64_t deadline_ns = clock_now_ns() + timeout_us * 1000;
	json_t *reply = NULL;
	int error = control_ask(client, control_request("drain"), timeout_us, &reply);
	uint64_t now_ns = clock_now_ns();
	int status;

	if (error < 0)
		return control_failed(client, error);
	status = control_judge(client, reply);
	json_decref(reply);
	if (status != COMMAND_PROCEED)
		return status;
	/* The end of the connection is the end of the process. */
	error = control_read(client, deadline_ns > now_ns ? (deadline_ns - now_ns) / 1000 : 0,
			     &reply);
	if (error != -ECONNRESET)
		return control_failed(client, error < 0 ? error : -EBADMSG);
	report_text(&client->globals->report, "echod has ended\n");
	return STATUS_OK;
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
		status = drain(&client, timeout_us);
	control_close(&client);
	return status;
}

const struct command command_drain = {
	.name = "drain",
	.operands = "",
	.summary = "end the local daemon, its connections first",
	.help = help,
	.long_options = control_timeout_options,
	.run = run,
};
