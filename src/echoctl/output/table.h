/* SPDX-License-Identifier: MIT */
/* A table for people, as wide as its rows need and no wider than the terminal. */
#ifndef ECHOCTL_OUTPUT_TABLE_H
#define ECHOCTL_OUTPUT_TABLE_H

#include <stddef.h>

#include "echoctl/output/report.h"

struct libscols_table;

/*
 * A heading that begins with > stands at the right, as do its cells; one that begins with < keeps
 * its cells whole, others may be cut. With a - in front of that the column is left out of a narrow
 * terminal, the last ones first. NULL: no memory.
 */
struct libscols_table *table_new(const char *const *headings, size_t count);

/* The cells of the next row, which are copied. table may be NULL. */
void table_add(struct libscols_table *table, const char *const *cells, size_t count);

/* Frees it. Returns its lines, the last one without a newline; the caller frees them; or NULL. */
char *table_text(struct libscols_table *table);

/* Prints and frees it; says so if there was no memory for it. */
void table_print(struct report *report, struct libscols_table *table);

#endif
