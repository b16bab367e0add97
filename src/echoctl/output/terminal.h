/* SPDX-License-Identifier: MIT */
/* What the terminal can, and the line of progress on standard error that is rewritten in place. */
#ifndef ECHOCTL_OUTPUT_TERMINAL_H
#define ECHOCTL_OUTPUT_TERMINAL_H

#include <stdbool.h>

/* Whether fd is a terminal that knows escape codes; TERM=dumb says that it does not. */
bool terminal_obeys(int fd);

/* Of the terminal that fd is, or else 80 and 24. */
unsigned terminal_columns(int fd);
unsigned terminal_rows(int fd);

/* Whether what is printed may be of blocks and bars (the locale says so). */
bool terminal_has_blocks(void);

/* Shows the line, cut at the width of the terminal; if terminal_obeys(STDERR_FILENO). */
void terminal_show(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Takes the line away, if there is one; whatever else is written does so first. */
void terminal_clear(void);

/* Leaves the line where it is, if there is one: the next one is another. */
void terminal_keep(void);

#endif
