/* SPDX-License-Identifier: MIT */
/* echoctl list: a row for each live connection of the local daemon. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "echoctl/daemon/client.h"
#include "echoctl/daemon/connection_row.h"

#define ROWS_MAX 1000000u

enum {
	OPTION_IDLE_OVER = OPTION_OWN,
	OPTION_AGE_OVER,
};

static const char help[] =
	"Lists the live connections: id, peer, local address, age, time since the last\n"
	"byte (to the second), bytes in and out, rate, process id of the worker.\n"
	"\n"
	"  -s, --sort COLUMN           id, peer, local, age, idle, in, out, rate or worker;\n"
	"                              what measures has its biggest value first\n"
	"  -r, --reverse               the other way round\n"
	"  -n, --rows COUNT            only the first of them\n"
	"  -S, --source PREFIX         only peers in PREFIX, as 192.0.2.0/24 or 2001:db8::1\n"
	"      --idle-over TIME        only those without a byte for so long\n"
	"      --age-over TIME         only those as old\n"
	"\n"
	"Example: the ten that are idle longest, of one network\n"
	"  echoctl list --source 192.0.2.0/24 --sort idle --rows 10\n";

static const struct option options[] = {
	{"sort", required_argument, NULL, 's'},
	{"reverse", no_argument, NULL, 'r'},
	{"rows", required_argument, NULL, 'n'},
	{"source", required_argument, NULL, 'S'},
	{"idle-over", required_argument, NULL, OPTION_IDLE_OVER},
	{"age-over", required_argument, NULL, OPTION_AGE_OVER},
	{0},
};

struct list {
	struct report *report;
	struct row_filter filter;
	row_compare compare;		/* NULL: in the daemon's order */
	bool reverse;
	uint64_t rows_max;
	struct connection_row *rows;	/* owned */
	size_t count;
	size_t room;
	uint64_t passed;		/* the filters */
	uint64_t total;
};

static const char *take(void *data, int option, const char *value)
{
	struct list *list = data;
	const char *why = NULL;

	switch (option) {
	case 's':
		list->compare = row_compare_by(value);
		return list->compare ? NULL :
		       "none of id, peer, local, age, idle, in, out, rate, worker";
	case 'r':
		list->reverse = true;
		return NULL;
	case 'n':
		return command_take_number(value, 1, ROWS_MAX, &list->rows_max);
	case 'S':
		list->filter.has_source = true;
		return cidr_parse(value, &list->filter.source, &why) < 0 ? why : NULL;
	case OPTION_IDLE_OVER:
		return command_take_duration(value, 0, UINT64_MAX,
					     &list->filter.idle_over_us);
	default:
		return command_take_duration(value, 0, UINT64_MAX,
					     &list->filter.age_over_us);
	}
}

static int keep(struct list *list, const struct connection_row *row, const char *line)
{
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 256;
		void *more = reallocarray(list->rows, room, sizeof(*list->rows));

		if (!more)
			return -ENOMEM;
		list->rows = more;
		list->room = room;
	}
	list->rows[list->count] = *row;
	if (list->report->json) {
		list->rows[list->count].line = strdup(line);
		if (!list->rows[list->count].line)
			return -ENOMEM;
	}
	list->count++;
	return 0;
}

static int take_row(struct list *list, json_t *reply, const char *line)
{
	struct connection_row row;

	list->total++;
	row_read(&row, reply);
	if (!row_passes(&row, &list->filter))
		return 0;
	list->passed++;
	if (list->compare)
		return list->passed <= ROWS_MAX ? keep(list, &row, line) : -E2BIG;
	if (list->passed > list->rows_max)
		return 0;
	if (!list->report->json)	/* the table is as wide as its rows: they come first */
		return keep(list, &row, line);
	report_line(list->report, line);
	return 0;
}

static const struct connection_row *row_at(const struct list *list, size_t index)
{
	return &list->rows[list->reverse ? list->count - 1 - index : index];
}

static void print_kept(struct list *list)
{
	const size_t count = list->count < list->rows_max ? list->count : list->rows_max;
	struct row_widths widths = ROW_WIDTHS;

	if (list->count && list->compare)
		qsort(list->rows, list->count, sizeof(*list->rows), list->compare);
	for (size_t i = 0; i < count; i++)
		row_measure(row_at(list, i), &widths);
	row_print_head(list->report, &widths);
	for (size_t i = 0; i < count; i++) {
		if (list->report->json)
			report_line(list->report, row_at(list, i)->line);
		row_print(list->report, row_at(list, i), &widths);
	}
}

/* The line that is no row: how many there were, or an error. */
static int finish(struct list *list, struct control_client *client, json_t *reply)
{
	if (strcmp(control_text(reply, "event"), "list") == 0)
		print_kept(list);
	return control_judge(client, reply);
}

/* Lines up to the one that says how many there were. COMMAND_PROCEED, or an exit status. */
static int receive(struct list *list, struct control_client *client)
{
	uint64_t timeout_us = client->globals->connect_timeout_us;
	json_t *reply = NULL;
	int error = control_ask(client, control_request("list"), timeout_us, &reply);
	int status = COMMAND_PROCEED;
	bool is_row = true;

	while (is_row && status == COMMAND_PROCEED) {
		is_row = error == 0 && strcmp(control_text(reply, "event"), "connection") == 0;
		if (is_row)
			error = take_row(list, reply, client->bytes);
		else if (error == 0)
			status = finish(list, client, reply);
		json_decref(reply);
		reply = NULL;
		if (error < 0)
			status = control_failed(client, error);
		else if (!report_heard(list->report))
			status = STATUS_LOCAL;
		if (is_row && status == COMMAND_PROCEED)
			error = control_read(client, timeout_us, &reply);
	}
	return status;
}

static int run(struct invocation *invocation)
{
	struct list list = { .report = &invocation->globals.report, .rows_max = ROWS_MAX };
	struct control_client client = control_client(&invocation->globals);
	int status = command_parse_alone(invocation, take, &list);

	if (status != COMMAND_PROCEED)
		return status;
	if (list.reverse && !list.compare)
		list.compare = row_compare_by("id");
	status = control_connect(&client);
	if (status == COMMAND_PROCEED)
		status = receive(&list, &client);
	if (status == COMMAND_PROCEED)
		report_text(list.report, "%" PRIu64 " of %" PRIu64 " connections\n",
			    list.passed < list.rows_max ? list.passed : list.rows_max, list.total);
	for (size_t i = 0; i < list.count; i++)
		free(list.rows[i].line);
	free(list.rows);
	control_close(&client);
	return status == COMMAND_PROCEED ? STATUS_OK : status;
}

const struct command command_list = {
	.name = "list",
	.operands = "",
	.summary = "the live connections of the local daemon",
	.help = help,
	.short_options = "s:rn:S:",
	.long_options = options,
	.run = run,
};
