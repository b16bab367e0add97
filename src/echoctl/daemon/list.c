/* SPDX-License-Identifier: MIT */
/* echoctl list: a row for each live connection of the local daemon. */
#include <errno.h>
#include <inttypes.h>
#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>

#include "echoctl/daemon/client.h"
#include "echoctl/daemon/connection_row.h"

#define ROWS_MAX 1000000u
#define COLUMNS_MAX 16

enum {
	OPTION_IDLE_OVER = OPTION_OWN,
	OPTION_AGE_OVER,
	OPTION_COLUMNS,
};

static const char help[] =
	"Lists the live connections: id, peer, local address, age, time since the last\n"
	"byte (to the second), bytes in and out, rate, process id of the worker.\n"
	"\n"
	"  -s, --sort COLUMN           by id, peer, local, age, idle, in, out, rate, worker\n"
	"                              or state; the biggest value is first\n"
	"  -r, --reverse               the other way round\n"
	"  -n, --rows COUNT            only the first of them\n"
	"  -S, --source PREFIX         only peers in PREFIX, as 192.0.2.0/24 or 2001:db8::1\n"
	"      --columns COLUMNS       these alone, with commas between them\n"
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
	{"columns", required_argument, NULL, OPTION_COLUMNS},
	{"idle-over", required_argument, NULL, OPTION_IDLE_OVER},
	{"age-over", required_argument, NULL, OPTION_AGE_OVER},
	{0},
};

struct list {
	struct report *report;
	struct row_filter filter;
	const struct row_column *sort;	/* NULL: in the daemon's order */
	bool reverse;
	uint64_t rows_max;
	const struct row_column *columns[COLUMNS_MAX];
	size_t n_columns;		/* 0: all */
	json_t **rows;			/* owned */
	size_t count;
	size_t room;
	uint64_t passed;		/* the filters */
	uint64_t total;
};

static const char *take_column(void *data, const char *name)
{
	struct list *list = data;
	const struct row_column *column = row_column_find(name);

	if (!column)
		return "none of " ROW_COLUMNS;
	if (list->n_columns == COLUMNS_MAX)
		return "too many columns";
	list->columns[list->n_columns++] = column;
	return NULL;
}

static const char *take(void *data, int option, const char *value)
{
	struct list *list = data;
	const char *why = NULL;

	switch (option) {
	case 's':
		list->sort = row_column_find(value);
		return list->sort ? NULL : "none of " ROW_COLUMNS;
	case 'r':
		list->reverse = true;
		return NULL;
	case 'n':
		return command_take_number(value, 1, ROWS_MAX, &list->rows_max);
	case 'S':
		list->filter.has_source = true;
		return cidr_parse(value, &list->filter.source, &why) < 0 ? why : NULL;
	case OPTION_COLUMNS:
		return command_take_list(value, take_column, list);
	case OPTION_IDLE_OVER:
		return command_take_duration(value, 0, UINT64_MAX,
					     &list->filter.idle_over_us);
	default:
		return command_take_duration(value, 0, UINT64_MAX,
					     &list->filter.age_over_us);
	}
}

static int keep(struct list *list, json_t *row)
{
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 256;
		json_t **more = reallocarray(list->rows, room, sizeof(json_t *));

		if (!more)
			return -ENOMEM;
		list->rows = more;
		list->room = room;
	}
	list->rows[list->count++] = json_incref(row);
	return 0;
}

static int take_row(struct list *list, json_t *row, const char *line)
{
	list->total++;
	if (!row_passes(row, &list->filter))
		return 0;
	list->passed++;
	if (list->sort)
		return list->passed <= ROWS_MAX ? keep(list, row) : -E2BIG;
	if (list->passed > list->rows_max)
		return 0;
	if (!list->report->json)	/* the table is as wide as its rows: they come first */
		return keep(list, row);
	report_line(list->report, line);
	return 0;
}

static int compare(const void *a, const void *b, void *data)
{
	const struct list *list = data;
	int order = row_compare(*(json_t *const *)a, *(json_t *const *)b, list->sort);

	return list->reverse ? -order : order;
}

static void add_columns(const struct list *list, struct libscols_table *table)
{
	for (size_t i = 0; i < list->n_columns; i++) {
		enum row_kind kind = list->columns[i]->kind;

		scols_table_new_column(table, list->columns[i]->heading, 0,
				       kind == ROW_TEXT ? SCOLS_FL_TRUNC :
				       kind == ROW_STATE ? 0 : SCOLS_FL_RIGHT);
	}
}

static void add_line(const struct list *list, struct libscols_table *table, const json_t *row)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	char cell[ROW_CELL_MAX];

	for (size_t i = 0; line && i < list->n_columns; i++)
		scols_line_set_data(line, i, row_cell(row, list->columns[i], cell));
}

/* As wide as its rows need, and no wider than the terminal: addresses are cut. */
static void print_table(struct list *list, size_t count)
{
	struct libscols_table *table = count > 0 ? scols_new_table() : NULL;
	char *text = NULL;

	if (table)
		add_columns(list, table);
	for (size_t i = 0; table && i < count; i++)
		add_line(list, table, list->rows[i]);
	if (table && scols_print_table_to_string(table, &text) == 0)
		report_text(list->report, "%s\n", text);
	else if (count > 0)
		report_error(list->report, "%s", strerror(ENOMEM));
	free(text);
	scols_unref_table(table);
}

/* All columns, that of the state only if there is something in it. */
static void choose_columns(struct list *list, size_t count)
{
	const struct row_column *column = row_columns;
	char text[ROW_CELL_MAX];

	for (; column->kind != ROW_STATE; column++)
		list->columns[list->n_columns++] = column;
	for (size_t i = 0; i < count; i++) {
		if (*row_cell(list->rows[i], column, text)) {
			list->columns[list->n_columns++] = column;
			break;
		}
	}
}

static void print_kept(struct list *list)
{
	size_t count = list->count < list->rows_max ? list->count : list->rows_max;

	if (list->count > 0 && list->sort)
		qsort_r(list->rows, list->count, sizeof(json_t *), compare, list);
	if (!list->report->json) {
		if (list->n_columns == 0)
			choose_columns(list, count);
		print_table(list, count);
		return;
	}
	for (size_t i = 0; i < count; i++)
		report_json(list->report, json_incref(list->rows[i]));
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
	if (list.reverse && !list.sort)
		list.sort = row_column_find("id");
	status = control_connect(&client);
	if (status == COMMAND_PROCEED)
		status = receive(&list, &client);
	if (status == COMMAND_PROCEED)
		report_text(list.report, "%" PRIu64 " of %" PRIu64 " connections\n",
			    list.passed < list.rows_max ? list.passed : list.rows_max, list.total);
	for (size_t i = 0; i < list.count; i++)
		json_decref(list.rows[i]);
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
