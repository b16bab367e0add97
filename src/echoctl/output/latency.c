/* SPDX-License-Identifier: MIT */
/* A latency distribution as JSON. */
#include "echoctl/output/latency.h"

#include <math.h>
#include <stddef.h>

struct record *latency_record(const struct histogram *histogram)
{
	static const struct {
		const char *key;
		double percent;
	} percentiles[] = { {"p50_ns", 50}, {"p90_ns", 90}, {"p99_ns", 99}, {"p999_ns", 99.9} };
	struct record *record = record_new(NULL);

	record_integer(record, "count", (int64_t)histogram->count);
	if (histogram->count == 0)
		return record;
	record_integer(record, "min_ns", (int64_t)histogram->min_ns);
	record_real(record, "mean_ns", round(histogram->mean_ns));
	record_integer(record, "max_ns", (int64_t)histogram->max_ns);
	record_real(record, "mdev_ns", round(histogram_deviation(histogram)));
	for (unsigned i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		record_integer(record, percentiles[i].key,
			       (int64_t)histogram_percentile(histogram, percentiles[i].percent));
	return record;
}
