/* SPDX-License-Identifier: MIT */
/* echoctl kill: ends connections of the local daemon in an orderly way. */
#include <inttypes.h>
#include <string.h>

#include "base/cidr.h"
#include "echoctl/daemon/client.h"

static const char help[] =
	"Ends a connection, by the ID that list shows, or all those of a source. What the\n"
	"peer has sent is echoed and our FIN follows; the log says end=killed. Who does\n"
	"not end within two seconds is ended by force.\n"
	"\n"
	"  -S, --source PREFIX         all peers in PREFIX, as 192.0.2.0/24 or 2001:db8::1\n"
	"\n"
	"Exit status: 0 ended, 1 there is no such connection.\n"
	"\n"
	"Examples:\n"
	"  echoctl kill 3.1047\n"
	"  echoctl kill --source 192.0.2.0/24\n";

static const struct option options[] = {
	{"source", required_argument, NULL, 'S'},
	{0},
};

static const char *take(void *data, int option, const char *value)
{
	const char **source = data;
	struct cidr prefix;
	const char *why = NULL;

	(void)option;
	if (cidr_parse(value, &prefix, &why) < 0)
		return why;
	*source = value;
	return NULL;
}

/* As list shows it: a generation and a connection, "3.1047". */
static bool is_id(const char *text)
{
	static const char digits[] = "0123456789";
	size_t generation = strspn(text, digits);
	size_t connection;

	if (generation == 0 || text[generation] != '.')
		return false;
	text += generation + 1;
	connection = strspn(text, digits);
	return connection > 0 && text[connection] == '\0';
}

static int run(struct invocation *invocation)
{
	struct report *report = &invocation->globals.report;
	const char *source = NULL;
	json_t *reply = NULL;
	json_t *request;
	int64_t count;
	int status = command_parse(invocation, take, &source);

	if (status != COMMAND_PROCEED)
		return status;
	if (invocation->argc != (source ? 0 : 1))
		return command_usage_error(invocation, "name one ID, or --source PREFIX");
	if (!source && !is_id(invocation->argv[0]))
		return command_usage_error(invocation, "%s: not an ID as list shows it (3.1047)",
					   invocation->argv[0]);
	request = control_request("kill");
	json_object_set_new(request, source ? "source" : "id",
			    report_string(source ? source : invocation->argv[0]));
	status = control_exchange(&invocation->globals, request, &reply);
	if (status != COMMAND_PROCEED)
		return status;
	count = json_integer_value(json_object_get(reply, "count"));
	report_text(report, "%" PRId64 " connection%s ended\n", count, count == 1 ? "" : "s");
	json_decref(reply);
	return count > 0 ? STATUS_OK : STATUS_FAILED;
}

const struct command command_kill = {
	.name = "kill",
	.operands = "{ID | --source PREFIX}",
	.summary = "end connections of the local daemon",
	.help = help,
	.short_options = "S:",
	.long_options = options,
	.run = run,
};
