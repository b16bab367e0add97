/* SPDX-License-Identifier: MIT */
/* What a file of --series has to show. */
#ifndef ECHOCTL_PLOT_CURVES_H
#define ECHOCTL_PLOT_CURVES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "echoctl/output/histogram.h"

/* Latency over time: of one target of ping, or one percentile of load. */
struct curve {
	char *name;
	size_t n;
	struct curve_point {
		double s;		/* since the start */
		double ms;
	} *points;
	/* Of all its answers; of load only the first curve has them, from all percentiles. */
	struct histogram distribution;
};

/* All zero is empty. */
struct curves {
	bool of_load;
	size_t n;
	struct curve *list;
	struct curve failures;		/* without a latency: ms is 0 */
	double end_s;			/* of the last row */
	double least_ms;		/* that is not 0; 0: none */
	double most_ms;
	uint64_t ok;
	uint64_t failed;
};

/*
 * Reads the rows of ping or load. Returns NULL, or what is wrong in *ret_line, which counts from 1;
 * 0: it is about the whole file. The caller frees them in any case.
 */
const char *curves_read(FILE *file, struct curves *curves, size_t *ret_line);

void curves_free(struct curves *curves);

#endif
