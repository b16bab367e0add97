/* SPDX-License-Identifier: MIT */
/* Rows of the table of connections. */
#include "echoctl/daemon/connection_row.h"

#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "echoctl/daemon/client.h"
#include "echoctl/daemon/status_screen.h"
#include "echoctl/output/units.h"

const struct row_column row_columns[] = {
	{"id", "ID", "id", ROW_TEXT},
	{"peer", "PEER", "peer", ROW_TEXT},
	{"local", "LOCAL", "local", ROW_TEXT},
	{"age", "AGE", "age_ns", ROW_AGE},
	{"idle", "IDLE", "idle_ns", ROW_AGE},
	{"in", "IN", "bytes_in", ROW_BYTES},
	{"out", "OUT", "bytes_out", ROW_BYTES},
	{"rate", "RATE", "bytes_in_per_s", ROW_RATE},
	{"worker", "WORKER", "worker", ROW_NUMBER},
	{"state", "STATE", "half_closed", ROW_STATE},
};

const struct row_column *row_column_find(const char *name)
{
	for (size_t i = 0; i < sizeof(row_columns) / sizeof(*row_columns); i++) {
		if (strcmp(row_columns[i].name, name) == 0)
			return &row_columns[i];
	}
	return NULL;
}

/* False for a peer that has no address: a Unix one. */
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

static json_int_t integer(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

bool row_passes(const json_t *row, const struct row_filter *filter)
{
	return (uint64_t)integer(row, "idle_ns") / 1000 >= filter->idle_over_us &&
	       (uint64_t)integer(row, "age_ns") / 1000 >= filter->age_over_us &&
	       (!filter->has_source || is_in_source(control_text(row, "peer"), &filter->source));
}

static json_int_t measure(const json_t *row, const struct row_column *column)
{
	const json_t *value = json_object_get(row, column->key);

	if (column->kind == ROW_RATE)
		return json_integer_value(value) + integer(row, "bytes_out_per_s");
	return json_is_true(value) ? 1 : json_integer_value(value);
}

int row_compare(const json_t *a, const json_t *b, const struct row_column *column)
{
	json_int_t x = measure(a, column);
	json_int_t y = measure(b, column);
	int order = x < y ? 1 : x > y ? -1 : 0;

	/* 3.9 before 3.10 before 12.1. */
	if (column->kind == ROW_TEXT)
		order = strverscmp(control_text(a, column->key), control_text(b, column->key));
	return order ? order : strverscmp(control_text(a, "id"), control_text(b, "id"));
}

/* A table has no room for "3 min 4 s" and "1.5 MiB": 3m4s and 1.5M. */
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

const char *row_cell(const json_t *row, const struct row_column *column, char text[ROW_CELL_MAX])
{
	json_int_t value = measure(row, column);

	switch (column->kind) {
	case ROW_TEXT:
		return control_text(row, column->key);
	case ROW_STATE:
		return value ? "half-closed" : "";
	case ROW_AGE:
		units_age((uint64_t)value, text);
		return squeeze(text);
	case ROW_BYTES:
	case ROW_RATE:
		units_bytes((double)value, text);
		if (column->kind == ROW_RATE)
			strcat(text, "/s");
		return squeeze(text);
	case ROW_NUMBER:
		break;
	}
	snprintf(text, ROW_CELL_MAX, "%" JSON_INTEGER_FORMAT, value);
	return text;
}
