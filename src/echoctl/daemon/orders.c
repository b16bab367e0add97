/* SPDX-License-Identifier: MIT */
/* Commands that tell the local daemon to do something, or ask it for one thing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cidr.h"
#include "base/clock.h"
#include "echoctl/daemon/client.h"
#include "echoctl/probe/interrupt.h"

#define RELOAD_TIMEOUT_US (UINT64_C(60) * CLOCK_US_PER_S)
#define LOOK_NS UINT64_C(250000000)	/* between looks at how many are left */
#define DRAIN_TIMEOUT_US (UINT64_C(900) * CLOCK_US_PER_S)	/* more than the longest drain */

static const struct option timeout_options[] = {
	{"timeout", required_argument, NULL, OPTION_OWN},
	{0},
};

static const char *take_timeout(void *client, int option, const char *value)
{
	(void)option;
	return command_take_timeout(value, &((struct control_client *)client)->timeout_us);
}

/* As "echod -t" prints them. */
static void print_problems(const json_t *problems)
{
	json_t *problem;
	size_t i;

	json_array_foreach(problems, i, problem) {
		char *text = report_escape(json_is_string(problem) ?
					   json_string_value(problem) : "", false);

		fprintf(stderr, "%s\n", text ? text : "");
		free(text);
	}
}

static int reload(struct invocation *invocation)
{
	CONTROL_CLEANUP struct control_client client = control_client(&invocation->globals);
	const json_t *problems;
	int status;

	client.timeout_us = RELOAD_TIMEOUT_US;
	/* A new program reloads by itself; asked again, it answers how that went. */
	client.follows = true;
	status = command_parse_alone(invocation, take_timeout, &client);
	if (status == COMMAND_PROCEED)
		status = control_exchange(&client, "reload", NULL, NULL);
	if (status != COMMAND_PROCEED)
		return status;
	problems = json_object_get(client.reply, "problems");
	print_problems(problems);
	if (!json_is_true(json_object_get(client.reply, "ok"))) {
		report_error(client.report, "the reload failed, the old settings stay in force%s",
			     json_array_size(problems) > 0 ? "" : "; the log says why");
		return STATUS_FAILED;
	}
	report_text(client.report, "new settings are in force%s\n",
		    client.taken_over ? ", a new program has taken over" : "");
	return STATUS_OK;
}

const struct command command_reload = {
	.name = "reload",
	.operands = "",
	.summary = "put new settings of the local daemon into force",
	.help =
	"Makes the local echod read its settings again and waits until they are in force.\n"
	"If the file has errors they are printed as \"echod -t\" does, and the old settings\n"
	"stay. Settings that take effect at the next start only are named, too. No\n"
	"connection is lost. If echod itself has changed on disk the new program takes\n"
	"over at the same time.\n"
	"\n"
	"      --timeout TIME          limit for the wait (1min)\n"
	"\n"
	"Exit status: 0 in force, 1 the old settings stay.\n"
	"\n"
	"Example:\n"
	"  echoctl reload && echoctl status\n",
	.long_options = timeout_options,
	.run = reload,
};

/* What is told while the daemon drains. */
struct drain {
	struct control_client client;	/* the connection that waits for the end */
	struct control_client asking;	/* another one */
	uint64_t deadline_ns;
	json_int_t said;		/* connections left in the last line; -1: none was said */
};

/*
 * On a terminal a line that is rewritten; elsewhere one for the first number, and one each time
 * that it has halved, so that there are few.
 */
static void say_left(struct drain *drain)
{
	const json_t *connections = json_object_get(drain->asking.reply, "connections");
	json_int_t left = control_integer(connections, "live");
	const char *plural = left == 1 ? "" : "s";

	if (!connections)	/* it has no time for us */
		return;
	if (terminal_obeys(STDERR_FILENO)) {
		terminal_show("%" JSON_INTEGER_FORMAT " connection%s left", left, plural);
	} else if (left > 0 && (drain->said < 0 || left <= drain->said / 2)) {
		report_note(drain->client.report, "%" JSON_INTEGER_FORMAT " connection%s left",
			    left, plural);
		drain->said = left;
	}
}

static void look(struct drain *drain)
{
	if (drain->client.report->quiet || drain->client.report->json)
		return;
	drain->asking.timeout_us = LOOK_NS / 1000;
	if (control_ask(&drain->asking, "status", NULL, NULL) == 0)
		say_left(drain);
	else
		control_close(&drain->asking);
}

/* control_read(), which tells meanwhile how many are left. */
static int await_line(struct drain *drain)
{
	uint64_t now_ns;
	int r;

	for (;;) {
		now_ns = clock_now_ns();
		drain->client.deadline_ns = now_ns + LOOK_NS < drain->deadline_ns ?
			now_ns + LOOK_NS : drain->deadline_ns;
		r = control_read(&drain->client);
		if (r != -ETIMEDOUT || interrupt_ended() < 0 ||
		    clock_now_ns() >= drain->deadline_ns)
			return r;
		look(drain);
	}
}

static int run_drain(struct drain *drain)
{
	struct control_client *client = &drain->client;
	int status;
	int r;

	drain->deadline_ns = clock_now_ns() + client->timeout_us * 1000;
	/* The first line comes when no connection is left. */
	if (client->timeout_us * 1000 > LOOK_NS)
		client->timeout_us = LOOK_NS / 1000;
	r = control_ask(client, "drain", NULL, NULL);
	if (r == -ETIMEDOUT && interrupt_ended() == 0)
		r = await_line(drain);
	if (r < 0)
		return control_failed(client, r);
	status = control_judge(client);
	if (status != COMMAND_PROCEED)
		return status;
	/* The connection ends when the process ends. */
	r = await_line(drain);
	if (r != -ECONNRESET)
		return control_failed(client, r < 0 ? r : -EBADMSG);
	report_text(client->report, "echod has ended\n");
	return STATUS_OK;
}

static int drain(struct invocation *invocation)
{
	struct drain drain = {
		.client = control_client(&invocation->globals),
		.asking = control_client(&invocation->globals),
		.said = -1,
	};
	int status;

	drain.client.timeout_us = DRAIN_TIMEOUT_US;
	status = command_parse_alone(invocation, take_timeout, &drain.client);
	if (status == COMMAND_PROCEED)
		status = run_drain(&drain);
	control_close(&drain.asking);
	control_close(&drain.client);
	return status;
}

const struct command command_drain = {
	.name = "drain",
	.operands = "",
	.summary = "end the local daemon, its connections first",
	.help =
	"Tells the local echod to accept no more connections, waits until those that\n"
	"live have ended (timeouts { drain } of echod.conf(5) at the longest), and then\n"
	"until the daemon is gone: what SIGTERM does. Meanwhile it tells how many\n"
	"connections are left. A socket unit of systemd stays and starts it again at the\n"
	"next connection; \"systemctl stop echod.socket\" first prevents that.\n"
	"\n"
	"      --timeout TIME          limit for the wait (15min)\n"
	"\n"
	"Example:\n"
	"  echoctl drain\n",
	.long_options = timeout_options,
	.run = drain,
};

static const char *take_source(void *data, int option, const char *value)
{
	const char **source = data;
	struct cidr prefix;
	const char *why = NULL;

	(void)option;
	*source = value;
	return cidr_parse(value, &prefix, &why) < 0 ? why : NULL;
}

/* Whether text is an id as list shows it: generation and connection, "3.1047". */
static bool is_id(const char *text)
{
	static const char digits[] = "0123456789";
	const char *dot = text + strspn(text, digits);

	return dot > text && *dot == '.' && dot[1] != '\0' && !dot[1 + strspn(dot + 1, digits)];
}

static int kill_connections(struct invocation *invocation)
{
	CONTROL_CLEANUP struct control_client client = control_client(&invocation->globals);
	const char *source = NULL;
	json_int_t count;
	int status = command_parse(invocation, take_source, &source);

	if (status != COMMAND_PROCEED)
		return status;
	if (invocation->argc != (source ? 0 : 1))
		return command_usage_error(invocation, "name one ID, or --source PREFIX");
	if (!source && !is_id(invocation->argv[0]))
		return command_usage_error(invocation, "%s: not an ID as list shows it (3.1047)",
					   invocation->argv[0]);
	status = source ? control_exchange(&client, "kill", "source", source) :
			  control_exchange(&client, "kill", "id", invocation->argv[0]);
	if (status != COMMAND_PROCEED)
		return status;
	count = control_integer(client.reply, "count");
	report_text(client.report, "%" JSON_INTEGER_FORMAT " connection%s ended\n", count,
		    count == 1 ? "" : "s");
	return count > 0 ? STATUS_OK : STATUS_FAILED;
}

const struct command command_kill = {
	.name = "kill",
	.operands = "{ID | --source PREFIX}",
	.summary = "end connections of the local daemon",
	.help =
	"Ends a connection, by the ID that list shows, or all those of a source. What the\n"
	"peer has sent is echoed and our FIN follows; the log says end=killed. A\n"
	"connection that has not ended within two seconds is ended by force.\n"
	"\n"
	"  -S, --source PREFIX         all peers in PREFIX: 192.0.2.0/24, 2001:db8::1\n"
	"\n"
	"Exit status: 0 ended, 1 there is no such connection.\n"
	"\n"
	"Examples:\n"
	"  echoctl kill 3.1047\n"
	"  echoctl kill --source 192.0.2.0/24\n",
	.long_options = (const struct option[]){
		{"source", required_argument, NULL, 'S'},
		{0},
	},
	.run = kill_connections,
};

static int log_level(struct invocation *invocation)
{
	CONTROL_CLEANUP struct control_client client = control_client(&invocation->globals);
	int status = command_parse(invocation, NULL, NULL);

	if (status != COMMAND_PROCEED)
		return status;
	if (invocation->argc != 1)
		return command_usage_error(invocation, "name one LEVEL");
	status = control_exchange(&client, "log-level", "level", invocation->argv[0]);
	if (status == COMMAND_PROCEED)
		report_text(client.report, "log level is %s until the next reload\n",
			    control_text(client.reply, "level"));
	return status;
}

const struct command command_log_level = {
	.name = "log-level",
	.operands = "LEVEL",
	.summary = "how much the local daemon logs, until its next reload",
	.help =
	"Sets the least important level that the local echod logs: emerg, alert, crit,\n"
	"err, warning, notice, info or debug. The next reload restores the level of\n"
	"echod.conf(5).\n"
	"\n"
	"Example:\n"
	"  echoctl log-level debug\n",
	.run = log_level,
};

static int metrics(struct invocation *invocation)
{
	CONTROL_CLEANUP struct control_client client = control_client(&invocation->globals);
	int status = command_parse_alone(invocation, NULL, NULL);

	if (status == COMMAND_PROCEED)
		status = control_exchange(&client, "metrics", NULL, NULL);
	if (status == COMMAND_PROCEED)
		report_text(client.report, "%s", control_text(client.reply, "text"));
	return status;
}

const struct command command_metrics = {
	.name = "metrics",
	.operands = "",
	.summary = "counters of the local daemon as OpenMetrics text",
	.help =
	"Prints the counters of the local echod as OpenMetrics text. The daemon writes\n"
	"them, as text for the node exporter, to the file that metrics { file } names in\n"
	"echod.conf(5).\n"
	"\n"
	"Example:\n"
	"  echoctl metrics | grep connections_live\n",
	.run = metrics,
};
