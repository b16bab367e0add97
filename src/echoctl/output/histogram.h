/* SPDX-License-Identifier: MIT */
/*
 * Latencies counted in log-linear buckets, so that a fixed amount of memory gives any percentile:
 * each power of two is cut into 128 steps, a value is off by less than 0.8%. Plain data without
 * pointers: it may stand in memory that processes share.
 */
#ifndef ECHOCTL_OUTPUT_HISTOGRAM_H
#define ECHOCTL_OUTPUT_HISTOGRAM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#define HISTOGRAM_STEP_BITS 7
#define HISTOGRAM_STEPS (1u << HISTOGRAM_STEP_BITS)
#define HISTOGRAM_VALUE_BITS 42		/* 73 minutes; longer values count as that */
#define HISTOGRAM_VALUE_MAX_NS ((UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1)
#define HISTOGRAM_BUCKETS ((HISTOGRAM_VALUE_BITS - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS)

/* All zero is an empty histogram. */
struct histogram {
	uint64_t count;
	uint64_t min_ns;		/* exact; meaningless while count is 0 */
	uint64_t max_ns;		/* exact */
	double mean_ns;			/* exact but for rounding, as is the deviation */
	double squares_ns2;		/* sum of squared distances from the mean */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_record(struct histogram *histogram, uint64_t value_ns);

/* The same as often as count says. */
void histogram_record_many(struct histogram *histogram, uint64_t value_ns, uint64_t count);

/* Adds the counts of the other one. */
void histogram_merge(struct histogram *into, const struct histogram *from);

/*
 * The counts between two states of one histogram. Smallest and largest value are those of their
 * buckets; mean and deviation stay 0.
 */
void histogram_difference(const struct histogram *now, const struct histogram *before,
			  struct histogram *ret_histogram);

/*
 * The smallest value that is not below this share of all values (nearest rank), as the upper end of
 * its bucket, but within min..max. 0 if nothing was counted.
 */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

/* Standard deviation of the values; 0 when nothing was counted. */
double histogram_deviation(const struct histogram *histogram);

/* For programs; an empty one has only its "count". The caller owns it; NULL: no memory. */
json_t *histogram_json(const struct histogram *histogram);

/* How many values lie in from_ns <= value < below_ns, as exact as the buckets are. */
uint64_t histogram_between(const struct histogram *histogram, uint64_t from_ns, uint64_t below_ns);

#define CHART_ROWS_MAX 20

/*
 * One row for each step between smallest and largest value, the steps finer where the values lie
 * close together: range, count, share (from 60 columns on), bar. Lines are at most width columns
 * (at least 40). Bars consist of eighth blocks with utf8, else of '#'. Nothing is written for an
 * empty histogram.
 */
void chart_draw(FILE *stream, const struct histogram *histogram, unsigned width, bool utf8);

#endif
