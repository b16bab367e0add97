/* SPDX-License-Identifier: MIT */
/* Tables for people. */
#include "echoctl/output/table.h"

#include <errno.h>
#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>

struct libscols_table *table_new(const char *const *headings, size_t count)
{
	struct libscols_table *table = scols_new_table();

	for (size_t i = 0; table && i < count; i++) {
		bool right = headings[i][0] == '>';
		bool whole = headings[i][0] == '<';

		scols_table_new_column(table, headings[i] + (right || whole), 0,
				       right ? SCOLS_FL_RIGHT : whole ? 0 : SCOLS_FL_TRUNC);
	}
	return table;
}

void table_add(struct libscols_table *table, const char *const *cells, size_t count)
{
	struct libscols_line *line = table ? scols_table_new_line(table, NULL) : NULL;

	for (size_t i = 0; line && i < count; i++)
		scols_line_set_data(line, i, cells[i]);
}

void table_print(struct report *report, struct libscols_table *table)
{
	char *text = NULL;

	if (table && scols_print_table_to_string(table, &text) == 0)
		report_text(report, "%s\n", text);
	else
		report_error(report, "%s", strerror(ENOMEM));
	free(text);
	scols_unref_table(table);
}
