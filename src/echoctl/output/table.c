/* SPDX-License-Identifier: MIT */
/* Tables for people. */
#include "echoctl/output/table.h"

#include <errno.h>
#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CUT_MIN 8		/* the columns of a cell that is cut */

struct libscols_table *table_new(const char *const *headings, size_t count)
{
	struct libscols_table *table = scols_new_table();

	for (size_t i = 0; table && i < count; i++) {
		const char *heading = headings[i] + (headings[i][0] == '-');
		bool right = heading[0] == '>';
		bool whole = heading[0] == '<';
		struct libscols_column *column = scols_table_new_column(
			table, heading + (right || whole), 0,
			right ? SCOLS_FL_RIGHT : whole ? 0 : SCOLS_FL_TRUNC);

		if (column && heading != headings[i])
			scols_cell_set_userdata(scols_column_get_header(column), table);
	}
	return table;
}

void table_add(struct libscols_table *table, const char *const *cells, size_t count)
{
	struct libscols_line *line = table ? scols_table_new_line(table, NULL) : NULL;

	for (size_t i = 0; line && i < count; i++)
		scols_line_set_data(line, i, cells[i]);
}

/* The least width of a column, and of the blank behind it. */
static size_t width_of(struct libscols_table *table, struct libscols_column *column)
{
	size_t width = strlen(scols_column_get_name(column));

	for (size_t i = 0; i < scols_table_get_nlines(table); i++) {
		struct libscols_line *line = scols_table_get_line(table, i);
		const char *cell = scols_cell_get_data(scols_line_get_column_cell(line, column));
		size_t length = cell ? strlen(cell) : 0;

		if (length > CUT_MIN && scols_column_is_trunc(column))
			length = CUT_MIN;
		if (length > width)
			width = length;
	}
	return width + 1;
}

/*
 * Leaves out columns that have a mark in their heading's cell, the last ones first, until the
 * others fit. The first column, which says what the row is about, stays whole if there is room.
 */
static void narrow(struct libscols_table *table, size_t room)
{
	size_t count = scols_table_get_ncols(table);
	struct libscols_column *first = scols_table_get_column(table, 0);
	size_t needed = 0;

	scols_column_set_flags(first, 0);
	if (width_of(table, first) > room / 2)
		scols_column_set_flags(first, SCOLS_FL_TRUNC);
	for (size_t i = 0; i < count; i++)
		needed += width_of(table, scols_table_get_column(table, i));
	for (size_t i = count; i > 0 && needed > room + 1; i--) {
		struct libscols_column *column = scols_table_get_column(table, i - 1);

		if (!scols_cell_get_userdata(scols_column_get_header(column)))
			continue;
		needed -= width_of(table, column);
		scols_column_set_flags(column, SCOLS_FL_HIDDEN);
	}
	if (needed > room + 1)
		scols_column_set_flags(first, SCOLS_FL_TRUNC);
}

char *table_text(struct libscols_table *table)
{
	char *text = NULL;

	if (table && isatty(STDOUT_FILENO))
		narrow(table, terminal_size(STDOUT_FILENO).ws_col);
	if (table && scols_print_table_to_string(table, &text) != 0)
		text = NULL;
	scols_unref_table(table);
	return text;
}

void table_print(struct report *report, struct libscols_table *table)
{
	char *text = table_text(table);

	if (text)
		report_text(report, "%s\n", text);
	else
		report_error(report, "%s", strerror(ENOMEM));
	free(text);
}
