/* SPDX-License-Identifier: MIT */
/* A latency histogram drawn as bars of text. */
#ifndef ECHOCTL_OUTPUT_CHART_H
#define ECHOCTL_OUTPUT_CHART_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "echoctl/output/histogram.h"

#define CHART_ROWS_MAX 20

/*
 * One row for each step between smallest and largest value, the steps finer where the values lie
 * close together: range, count, share (from 60 columns on), bar. Lines are at most width columns
 * (at least 40). Bars are of eighth blocks with utf8, else of '#'. Nothing is written for an empty
 * histogram.
 */
void chart_draw(FILE *stream, const struct histogram *histogram, unsigned width, bool utf8);

#endif
