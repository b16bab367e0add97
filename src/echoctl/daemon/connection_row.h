/* SPDX-License-Identifier: MIT */
/* A live connection of the daemon as list shows it: filters, order, a line of the table. */
#ifndef ECHOCTL_DAEMON_CONNECTION_ROW_H
#define ECHOCTL_DAEMON_CONNECTION_ROW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cidr.h"
#include "echoctl/output/report.h"

#define ROW_ID_MAX 44
#define ROW_ADDRESS_MAX 160

struct connection_row {
	char id[ROW_ID_MAX];
	char peer[ROW_ADDRESS_MAX];
	char local[ROW_ADDRESS_MAX];
	int64_t worker;
	int64_t age_ns;
	int64_t idle_ns;
	int64_t bytes_in;
	int64_t bytes_out;
	int64_t rate;		/* bytes a second, both directions */
	bool half_closed;
	char *line;		/* owned: as the daemon sent it, or NULL */
};

struct row_filter {
	bool has_source;
	struct cidr source;
	uint64_t idle_over_us;	/* 0: any */
	uint64_t age_over_us;
};

/* For qsort(3), by a column: biggest first where it measures. NULL: no such column. */
typedef int (*row_compare)(const void *a, const void *b);
row_compare row_compare_by(const char *column);

void row_read(struct connection_row *row, json_t *reply);
bool row_passes(const struct connection_row *row, const struct row_filter *filter);

/* Columns of the table that have no bound of their own. */
struct row_widths {
	int id;
	int peer;
	int local;
};

/* Where everything is short. */
#define ROW_WIDTHS { .id = 9, .peer = 24, .local = 18 }

/* Widens the columns for this row. */
void row_measure(const struct connection_row *row, struct row_widths *widths);

void row_print_head(struct report *report, const struct row_widths *widths);
void row_print(struct report *report, const struct connection_row *row,
	       const struct row_widths *widths);

#endif
