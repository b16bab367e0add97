/* SPDX-License-Identifier: MIT */
/* A live connection as list shows it: the daemon's "connection" object, filters, order, cells. */
#ifndef ECHOCTL_DAEMON_CONNECTION_ROW_H
#define ECHOCTL_DAEMON_CONNECTION_ROW_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/cidr.h"

#define ROW_COLUMNS "id, peer, local, age, idle, in, out, rate, worker, state"
#define ROW_CELL_MAX 32

struct row_filter {
	bool has_source;
	struct cidr source;
	uint64_t idle_over_us;	/* 0: any */
	uint64_t age_over_us;
};

bool row_passes(const json_t *row, const struct row_filter *filter);

/* What a column shows. */
enum row_kind {
	ROW_TEXT,
	ROW_AGE,
	ROW_BYTES,
	ROW_RATE,	/* bytes a second, both directions */
	ROW_NUMBER,
	ROW_STATE,	/* half-closed or nothing */
};

struct row_column {
	const char *name;
	const char *heading;
	const char *key;	/* of the object */
	enum row_kind kind;
};

/* All columns in the order of the table; the last one is that of ROW_STATE. */
extern const struct row_column row_columns[];

/* NULL: there is no such column. */
const struct row_column *row_column_find(const char *name);

/* As for qsort_r(3): the biggest first if the column measures, by id if both are equal. */
int row_compare(const json_t *a, const json_t *b, const struct row_column *column);

/* What stands in the table; lives as long as the row and text. */
const char *row_cell(const json_t *row, const struct row_column *column, char text[ROW_CELL_MAX]);

#endif
