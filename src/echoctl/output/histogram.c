/* SPDX-License-Identifier: MIT */
/* Log-linear latency histogram, and how it is drawn. */
#include "echoctl/output/histogram.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

#include "echoctl/output/report.h"

#define BAR_COLUMN 34		/* what the rest of a row takes, and one to spare */
#define SHARE_COLUMNS 9
#define WIDTH_MIN 40
#define WIDTH_WITH_SHARE 60

/* Steps in a decade, in hundredths; the coarsest with enough rows is used. */
static const struct density {
	unsigned count;
	unsigned steps[23];
} densities[] = {
	{ 3, { 100, 200, 500 } },
	{ 6, { 100, 150, 200, 300, 500, 700 } },
	{ 23, { 100, 110, 120, 130, 140, 150, 160, 180, 200, 220, 250, 280, 310, 350, 400, 450, 500,
		550, 600, 650, 700, 800, 900 } },
};

static unsigned bucket_of(uint64_t value_ns)
{
	unsigned shift;

	if (value_ns < 2 * HISTOGRAM_STEPS)
		return (unsigned)value_ns;
	shift = 63 - (unsigned)__builtin_clzll(value_ns) - HISTOGRAM_STEP_BITS;
	return shift * HISTOGRAM_STEPS + (unsigned)(value_ns >> shift);
}

static uint64_t bucket_start_ns(unsigned bucket)
{
	unsigned shift;

	if (bucket < 2 * HISTOGRAM_STEPS)
		return bucket;
	shift = bucket / HISTOGRAM_STEPS - 1;
	return (uint64_t)(bucket - shift * HISTOGRAM_STEPS) << shift;
}

void histogram_record_many(struct histogram *histogram, uint64_t value_ns, uint64_t count)
{
	double distance;

	if (count == 0)
		return;
	if (value_ns > HISTOGRAM_VALUE_MAX_NS)
		value_ns = HISTOGRAM_VALUE_MAX_NS;
	distance = (double)value_ns - histogram->mean_ns;
	if (histogram->count == 0 || value_ns < histogram->min_ns)
		histogram->min_ns = value_ns;
	if (value_ns > histogram->max_ns)
		histogram->max_ns = value_ns;
	histogram->count += count;
	/* Welford: sums of squares of nanoseconds would lose the small deviations. */
	histogram->mean_ns += distance * (double)count / (double)histogram->count;
	histogram->squares_ns2 += distance * ((double)value_ns - histogram->mean_ns) *
		(double)count;
	histogram->buckets[bucket_of(value_ns)] += count;
}

void histogram_record(struct histogram *histogram, uint64_t value_ns)
{
	histogram_record_many(histogram, value_ns, 1);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	double distance = from->mean_ns - into->mean_ns;
	uint64_t count = into->count + from->count;

	if (from->count == 0)
		return;
	if (into->count == 0 || from->min_ns < into->min_ns)
		into->min_ns = from->min_ns;
	if (from->max_ns > into->max_ns)
		into->max_ns = from->max_ns;
	into->squares_ns2 += from->squares_ns2 +
		distance * distance * (double)into->count * ((double)from->count / (double)count);
	into->mean_ns += distance * (double)from->count / (double)count;
	into->count = count;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

void histogram_difference(const struct histogram *now, const struct histogram *before,
			  struct histogram *ret_histogram)
{
	assert(ret_histogram != now && ret_histogram != before);
	*ret_histogram = (struct histogram){0};
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t count = now->buckets[i] - before->buckets[i];

		ret_histogram->buckets[i] = count;
		if (count == 0)
			continue;
		if (ret_histogram->count == 0)
			ret_histogram->min_ns = bucket_start_ns(i);
		ret_histogram->max_ns = bucket_start_ns(i + 1) - 1;
		ret_histogram->count += count;
	}
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
	/* The tolerance keeps 99.9% of 1000 at 999 although 0.999 has no exact double. */
	double exact = ceil(percent / 100 * (double)histogram->count - 1e-6);
	uint64_t rank = exact < 1 ? 1 : (uint64_t)exact;
	uint64_t seen = 0;
	uint64_t value_ns;

	assert(percent >= 0 && percent <= 100);
	if (histogram->count == 0)
		return 0;
	for (unsigned i = 0; i + 1 < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen < rank)
			continue;
		value_ns = bucket_start_ns(i + 1) - 1;
		if (value_ns < histogram->min_ns)
			return histogram->min_ns;
		return value_ns < histogram->max_ns ? value_ns : histogram->max_ns;
	}
	return histogram->max_ns;
}

double histogram_deviation(const struct histogram *histogram)
{
	if (histogram->count == 0)
		return 0;
	return sqrt(histogram->squares_ns2 / (double)histogram->count);
}

json_t *histogram_json(const struct histogram *histogram)
{
	json_t *buckets;

	if (histogram->count == 0)
		return json_pack("{s:i}", "count", 0);
	buckets = json_array();
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		if (histogram->buckets[i] > 0)
			json_array_append_new(buckets, json_pack(
				"[I, I]", (json_int_t)bucket_start_ns(i + 1) - 1,
				(json_int_t)histogram->buckets[i]));
	}
	return json_pack("{s:I, s:I, s:f, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:o}",
			 "count", (json_int_t)histogram->count,
			 "min_ns", (json_int_t)histogram->min_ns,
			 "mean_ns", round(histogram->mean_ns),
			 "max_ns", (json_int_t)histogram->max_ns,
			 "mdev_ns", round(histogram_deviation(histogram)),
			 "p50_ns", (json_int_t)histogram_percentile(histogram, 50),
			 "p90_ns", (json_int_t)histogram_percentile(histogram, 90),
			 "p99_ns", (json_int_t)histogram_percentile(histogram, 99),
			 "p999_ns", (json_int_t)histogram_percentile(histogram, 99.9),
			 "p9999_ns", (json_int_t)histogram_percentile(histogram, 99.99),
			 "buckets", buckets);
}

uint64_t histogram_between(const struct histogram *histogram, uint64_t from_ns, uint64_t below_ns)
{
	unsigned end = HISTOGRAM_BUCKETS;
	uint64_t count = 0;

	if (from_ns > HISTOGRAM_VALUE_MAX_NS)
		return 0;
	if (below_ns <= HISTOGRAM_VALUE_MAX_NS)
		end = bucket_of(below_ns);
	for (unsigned i = bucket_of(from_ns); i < end; i++)
		count += histogram->buckets[i];
	return count;
}

/* Start of the index-th row of a density, counted from 100 ns. */
static uint64_t row_start_ns(const struct density *density, unsigned row)
{
	uint64_t start_ns = density->steps[row % density->count];

	for (unsigned decade = row / density->count; decade > 0; decade--)
		start_ns *= 10;
	return row == 0 ? 0 : start_ns;
}

static unsigned row_of(const struct density *density, uint64_t value_ns)
{
	unsigned row = 0;

	while (row_start_ns(density, row + 1) <= value_ns)
		row++;
	return row;
}

static void draw_bar(FILE *stream, uint64_t count, uint64_t most, unsigned columns, bool utf8)
{
	static const char *const eighths[] = {
		"", "▏", "▎", "▍", "▌", "▋", "▊", "▉",
	};
	unsigned length = (unsigned)((double)count / (double)most * columns * 8);

	if (count > 0 && length == 0)
		length = 1;
	for (unsigned i = 0; i < length / 8; i++)
		fputs(utf8 ? "█" : "#", stream);
	if (length % 8 > 0)
		fputs(utf8 ? eighths[length % 8] : length < 8 ? "." : "", stream);
	fputc('\n', stream);
}

void chart_draw(FILE *stream, const struct histogram *histogram, unsigned width, bool utf8)
{
	const struct density *density = densities;
	uint64_t counts[CHART_ROWS_MAX * 3];
	bool share = width >= WIDTH_WITH_SHARE;
	unsigned columns = (width < WIDTH_MIN ? WIDTH_MIN : width) - BAR_COLUMN;
	uint64_t most = 0;
	unsigned first = 0;
	unsigned last = 0;

	if (histogram->count == 0)
		return;
	for (unsigned i = 0; i < sizeof(densities) / sizeof(*densities); i++) {
		unsigned from = row_of(&densities[i], histogram->min_ns);
		unsigned to = row_of(&densities[i], histogram->max_ns);

		if (i > 0 && to - from >= CHART_ROWS_MAX)
			break;
		density = &densities[i];
		first = from;
		last = to;
	}
	for (unsigned row = first; row <= last; row++) {
		/*
		 * The largest value's bucket may reach beyond the last row: the last row takes all
		 * of it.
		 */
		counts[row - first] = histogram_between(histogram, row_start_ns(density, row),
			row < last ? row_start_ns(density, row + 1) : UINT64_MAX);
		if (counts[row - first] > most)
			most = counts[row - first];
	}
	for (unsigned row = first; row <= last; row++) {
		char from[UNITS_TEXT_MAX];
		char to[UNITS_TEXT_MAX];
		uint64_t count = counts[row - first];

		fprintf(stream, "%9s - %-9s %10" PRIu64 " ",
			units_time(row_start_ns(density, row), from),
			units_time(row_start_ns(density, row + 1), to), count);
		if (share)
			fprintf(stream, "%6.2f%%  ",
				100 * (double)count / (double)histogram->count);
		draw_bar(stream, count, most, columns - (share ? SHARE_COLUMNS : 0), utf8);
	}
}
