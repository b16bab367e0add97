/* SPDX-License-Identifier: MIT */
/* What gnuplot(1) is told to draw. */
#ifndef ECHOCTL_PLOT_SCRIPT_H
#define ECHOCTL_PLOT_SCRIPT_H

#include <stddef.h>
#include <stdio.h>

#include "echoctl/plot/curves.h"

/*
 * Writes a script that draws to its standard output: of each file latency over time and below it
 * the distribution, the files side by side, or below each other if the terminal is too narrow.
 * paths: of the files. format: "svg", "png", or NULL: text for a terminal of that width.
 */
void script_write(FILE *script, const struct curves *files, char *const *paths, size_t n,
		  const char *format, unsigned width);

#endif
