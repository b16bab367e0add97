/* SPDX-License-Identifier: MIT */
/* echoctl list: a row for each live connection of the local daemon. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/address.h"
#include "base/cidr.h"
#include "base/clock.h"
#include "echoctl/daemon/watch.h"
#include "echoctl/output/table.h"

#define CELL_MAX 32
#define COLUMNS_MAX 16
#define INTERVAL_US CLOCK_US_PER_S
#define INTERVAL_MIN_US 100000u
#define INTERVAL_MAX_US (UINT64_C(86400) * CLOCK_US_PER_S)
#define COLUMN_NAMES "id, peer, via, local, age, idle, in, out, rate, worker, state"

enum {
	OPTION_IDLE_OVER = OPTION_OWN,
	OPTION_AGE_OVER,
	OPTION_COLUMNS,
};

/* Kinds of columns. */
enum kind {
	KIND_TEXT,
	KIND_AGE,
	KIND_BYTES,
	KIND_RATE,	/* bytes a second, both directions */
	KIND_NUMBER,
	KIND_STATE,	/* half-closed or nothing */
};

static const struct column {
	const char *name;
	const char *heading;	/* for table_new() */
	const char *key;	/* of the daemon's "connection" object */
	enum kind kind;
	bool is_optional;	/* left out if no row has it */
} columns[] = {
	{"id", "ID", "id", KIND_TEXT, false},
	{"peer", "PEER", "peer", KIND_TEXT, false},
	{"via", "-VIA", "via", KIND_TEXT, true},
	{"local", "-LOCAL", "local", KIND_TEXT, false},
	{"age", ">AGE", "age_ns", KIND_AGE, false},
	{"idle", ">IDLE", "idle_ns", KIND_AGE, false},
	{"in", ">IN", "bytes_in", KIND_BYTES, false},
	{"out", "->OUT", "bytes_out", KIND_BYTES, false},
	{"rate", "->RATE", "bytes_in_per_s", KIND_RATE, false},
	{"worker", "->WORKER", "worker", KIND_NUMBER, false},
	{"state", "-<STATE", "half_closed", KIND_STATE, true},
};

struct list {
	uint64_t interval_us;		/* --watch; 0: once */
	bool has_source;
	struct cidr source;
	uint64_t idle_over_us;
	uint64_t age_over_us;
	const struct column *sort;	/* NULL: in the daemon's order */
	bool reverse;
	uint64_t rows_max;
	const struct column *columns[COLUMNS_MAX];
	size_t n_columns;		/* 0: all */
	/* of one answer */
	json_t **rows;			/* owned */
	size_t count;
	size_t room;
	uint64_t passed;		/* the filters */
	uint64_t total;
};

static const char *find_column(const char *name, const struct column **ret_column)
{
	for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++) {
		if (strcmp(columns[i].name, name) != 0)
			continue;
		*ret_column = &columns[i];
		return NULL;
	}
	return "none of " COLUMN_NAMES;
}

static const char *take_column(void *data, const char *name)
{
	struct list *list = data;

	if (list->n_columns == COLUMNS_MAX)
		return "too many columns";
	return find_column(name, &list->columns[list->n_columns++]);
}

static const char *take_interval(struct list *list, const char *value)
{
	return command_take_duration(value, INTERVAL_MIN_US, INTERVAL_MAX_US, &list->interval_us);
}

static const char *take(void *data, int option, const char *value)
{
	struct list *list = data;
	const char *why = NULL;

	switch (option) {
	case 'w':
		list->interval_us = INTERVAL_US;
		return value ? take_interval(list, value) : NULL;
	case 's':
		return find_column(value, &list->sort);
	case 'r':
		list->reverse = true;
		return NULL;
	case 'n':
		return command_take_number(value, 1, UINT32_MAX, &list->rows_max);
	case 'S':
		list->has_source = true;
		return cidr_parse(value, &list->source, &why) < 0 ? why : NULL;
	case OPTION_COLUMNS:
		return command_take_list(value, take_column, list);
	case OPTION_IDLE_OVER:
		return command_take_duration(value, 0, UINT64_MAX, &list->idle_over_us);
	default:
		return command_take_duration(value, 0, UINT64_MAX, &list->age_over_us);
	}
}

/* Returns false for a Unix peer, which has no address. */
static bool is_in_source(const char *peer, const struct cidr *source)
{
	struct address_spec spec;
	struct cidr address;

	if (address_parse(peer, 0, &spec, NULL) < 0 || spec.is_unix)
		return false;
	*strchrnul(spec.host, '%') = '\0';
	return cidr_parse(spec.host, &address, NULL) == 0 &&
	       cidr_contains(source->prefix, source->bits, address.prefix);
}

static bool passes(const struct list *list, const json_t *row)
{
	return (uint64_t)control_integer(row, "idle_ns") / 1000 >= list->idle_over_us &&
	       (uint64_t)control_integer(row, "age_ns") / 1000 >= list->age_over_us &&
	       (!list->has_source || is_in_source(control_text(row, "peer"), &list->source));
}

static int take_row(struct list *list, json_t *row)
{
	list->total++;
	if (!passes(list, row))
		return 0;
	list->passed++;
	if (!list->sort && list->passed > list->rows_max)
		return 0;
	if (list->count == list->room) {
		size_t room = 2 * list->room + 256;
		json_t **more = reallocarray(list->rows, room, sizeof(json_t *));

		if (!more)
			return -ENOMEM;
		list->rows = more;
		list->room = room;
	}
	list->rows[list->count++] = json_incref(row);
	return 0;
}

static json_int_t measure(const json_t *row, const struct column *column)
{
	const json_t *value = json_object_get(row, column->key);

	if (column->kind == KIND_RATE)
		return json_integer_value(value) + control_integer(row, "bytes_out_per_s");
	return json_is_true(value) ? 1 : json_integer_value(value);
}

/* For qsort_r(3): the biggest first in columns of numbers, by id if both are equal. */
static int compare(const void *a, const void *b, void *data)
{
	const json_t *x = *(json_t *const *)a;
	const json_t *y = *(json_t *const *)b;
	const struct list *list = data;
	json_int_t left = measure(x, list->sort);
	json_int_t right = measure(y, list->sort);
	int order = left < right ? 1 : left > right ? -1 : 0;

	/* 3.9 before 3.10 before 12.1. */
	if (list->sort->kind == KIND_TEXT)
		order = strverscmp(control_text(x, list->sort->key),
				   control_text(y, list->sort->key));
	if (order == 0)
		order = strverscmp(control_text(x, "id"), control_text(y, "id"));
	return list->reverse ? -order : order;
}

/* Shortens "3 min 4 s" and "1.5 MiB" to 3m4s and 1.5M. */
static const char *squeeze(char *text)
{
	char *end = text;

	for (const char *c = text; *c; c++) {
		if (c[0] == 'i' && (c[1] == 'n' || c[1] == 'B'))
			c++;
		else if (*c != ' ')
			*end++ = *c;
	}
	*end = '\0';
	return text;
}

/* Text of a cell; it lives as long as the row and text. */
static const char *cell(const json_t *row, const struct column *column, char text[CELL_MAX])
{
	json_int_t value = measure(row, column);

	switch (column->kind) {
	case KIND_TEXT:
		return control_text(row, column->key);
	case KIND_STATE:
		return value ? "half-closed" : "";
	case KIND_AGE:
		units_age((uint64_t)value, text);
		break;
	case KIND_BYTES:
		units_bytes((double)value, text);
		break;
	case KIND_RATE:
		units_bytes((double)value, text);
		strcat(text, "/s");
		break;
	case KIND_NUMBER:
		snprintf(text, CELL_MAX, "%" JSON_INTEGER_FORMAT, value);
		break;
	}
	return squeeze(text);
}

static bool is_wanted(const struct list *list, size_t count, const struct column *column)
{
	char text[CELL_MAX];
	bool is_empty = column->is_optional;

	for (size_t i = 0; is_empty && i < count; i++)
		is_empty = *cell(list->rows[i], column, text) == '\0';
	return !is_empty;
}

/*
 * All columns, but those that are optional only if one row has something in them. Returns how many.
 */
static size_t choose_columns(const struct list *list, size_t count, const struct column **chosen)
{
	size_t n = 0;

	for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++) {
		if (is_wanted(list, count, &columns[i]))
			chosen[n++] = &columns[i];
	}
	return n;
}

static struct libscols_table *make_table(const struct list *list, size_t count)
{
	const struct column *chosen[COLUMNS_MAX];
	const char *cells[COLUMNS_MAX];
	char texts[COLUMNS_MAX][CELL_MAX];
	size_t n = list->n_columns;
	struct libscols_table *table;

	memcpy(chosen, list->columns, sizeof(chosen));
	if (n == 0)
		n = choose_columns(list, count, chosen);
	/* Those that were asked for are all shown. */
	for (size_t i = 0; i < n; i++)
		cells[i] = chosen[i]->heading + (list->n_columns > 0 && *chosen[i]->heading == '-');
	table = table_new(cells, n);
	for (size_t row = 0; row < count; row++) {
		for (size_t i = 0; i < n; i++)
			cells[i] = cell(list->rows[row], chosen[i], texts[i]);
		table_add(table, cells, n);
	}
	return table;
}

/* The caller frees it; NULL: no memory. */
static char *make_text(const struct list *list, size_t count)
{
	char *rows = count > 0 ? table_text(make_table(list, count)) : strdup("");
	char *text = NULL;

	if (rows && asprintf(&text, "%s%s%zu of %" PRIu64 " connections\n", rows,
			     count > 0 ? "\n" : "", count, list->total) < 0)
		text = NULL;
	free(rows);
	return text;
}

static int print_rows(struct list *list, struct watch *watch)
{
	struct report *report = watch->client.report;
	size_t count = list->count < list->rows_max ? list->count : list->rows_max;
	size_t room = terminal_size(STDOUT_FILENO).ws_row;

	if (list->count > 0 && list->sort)
		qsort_r(list->rows, list->count, sizeof(json_t *), compare, list);
	for (size_t i = 0; report->json && i < count; i++)
		report_json(report, json_incref(list->rows[i]));
	if (report->json)
		return control_judge(&watch->client);
	/* The heading and the last line are on the screen, too. */
	if (watch->terminal && count + 2 > room)
		count = room > 2 ? room - 2 : 0;
	return watch_show(watch, make_text(list, count));
}

static void clear(struct list *list)
{
	for (size_t i = 0; i < list->count; i++)
		json_decref(list->rows[i]);
	list->count = 0;
	list->passed = 0;
	list->total = 0;
}

/* Receives rows up to the line with their number, or the error. */
static int show(struct watch *watch, void *data)
{
	struct control_client *client = &watch->client;
	struct list *list = data;
	int r = 0;

	clear(list);
	while (r == 0 && strcmp(control_text(client->reply, "event"), "connection") == 0) {
		r = take_row(list, client->reply);
		client->deadline_ns = clock_now_ns() + client->globals->connect_timeout_us * 1000;
		if (r == 0)
			r = control_read(client);
	}
	if (r < 0)
		return watch_failed(watch, r);
	if (strcmp(control_text(client->reply, "event"), "list") == 0)
		return print_rows(list, watch);
	return watch_refused(watch);
}

/* The interval may stand behind --watch as a word of its own. */
static int parse(struct invocation *invocation, struct list *list)
{
	int status = command_parse(invocation, take, list);
	const char *why = NULL;

	if (status == COMMAND_PROCEED && list->interval_us == INTERVAL_US && invocation->argc > 0) {
		why = take_interval(list, *invocation->argv++);
		invocation->argc--;
	}
	if (why)
		return command_usage_error(invocation, "--watch %s: %s", invocation->argv[-1], why);
	if (status == COMMAND_PROCEED && invocation->argc > 0)
		return command_usage_error(invocation, "%s: takes no operand",
					   invocation->argv[0]);
	return status;
}

static int run(struct invocation *invocation)
{
	struct watch watch = { .client = control_client(&invocation->globals) };
	struct list list = { .rows_max = UINT32_MAX };
	int status = parse(invocation, &list);

	if (status != COMMAND_PROCEED)
		return status;
	if (list.reverse && !list.sort)
		list.sort = &columns[0];
	watch.interval_us = list.interval_us;
	status = watch_run(&watch, "list", show, &list);
	clear(&list);
	free(list.rows);
	return status;
}

const struct command command_list = {
	.name = "list",
	.operands = "",
	.summary = "the live connections of the local daemon",
	.help =
	"Lists the live connections: id, peer, balancer if there is one, local address,\n"
	"age, time since the last byte (to the second), bytes in and out, rate, process\n"
	"id of the worker.\n"
	"\n"
	"  -s, --sort COLUMN           by id, peer, via, local, age, idle, in, out, rate,\n"
	"                              worker or state; the biggest value is first\n"
	"  -r, --reverse               reverse the order\n"
	"  -n, --rows COUNT            only so many rows, the first ones\n"
	"  -S, --source PREFIX         only peers in PREFIX: 192.0.2.0/24, 2001:db8::1\n"
	"      --columns COLUMNS       only these, separated by commas\n"
	"      --idle-over TIME        only those without a byte for at least TIME\n"
	"      --age-over TIME         only those at least so old\n"
	"  -w, --watch [INTERVAL]      again and again (1s), until interrupted\n"
	"\n"
	"Example: the ten that are idle longest, of one network\n"
	"  echoctl list --source 192.0.2.0/24 --sort idle --rows 10\n",
	.long_options = (const struct option[]){
		{"sort", required_argument, NULL, 's'},
		{"reverse", no_argument, NULL, 'r'},
		{"rows", required_argument, NULL, 'n'},
		{"source", required_argument, NULL, 'S'},
		{"watch", optional_argument, NULL, 'w'},
		{"columns", required_argument, NULL, OPTION_COLUMNS},
		{"idle-over", required_argument, NULL, OPTION_IDLE_OVER},
		{"age-over", required_argument, NULL, OPTION_AGE_OVER},
		{0},
	},
	.run = run,
};
