/* SPDX-License-Identifier: MIT */
/* Latency histogram as text. */
#include "echoctl/output/chart.h"

#include <inttypes.h>

#include "echoctl/output/units.h"

#define BAR_COLUMN 34		/* what the rest of a row takes, and one to spare */
#define SHARE_COLUMNS 9
#define WIDTH_MIN 40
#define WIDTH_WITH_SHARE 60

/* Steps in a decade, in hundredths; the coarsest that gives enough rows is taken. */
static const unsigned coarse[] = { 100, 200, 500 };
static const unsigned medium[] = { 100, 150, 200, 300, 500, 700 };
static const unsigned fine[] = { 100, 110, 120, 130, 140, 150, 160, 180, 200, 220, 250, 280, 310,
	350, 400, 450, 500, 550, 600, 650, 700, 800, 900 };

static const struct density {
	const unsigned *steps;
	unsigned count;
} densities[] = {
	{ coarse, sizeof(coarse) / sizeof(coarse[0]) },
	{ medium, sizeof(medium) / sizeof(medium[0]) },
	{ fine, sizeof(fine) / sizeof(fine[0]) },
};

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
	for (unsigned i = 0; i < sizeof(densities) / sizeof(densities[0]); i++) {
		unsigned from = row_of(&densities[i], histogram->min_ns);
		unsigned to = row_of(&densities[i], histogram->max_ns);

		if (i > 0 && to - from >= CHART_ROWS_MAX)
			break;
		density = &densities[i];
		first = from;
		last = to;
	}
	for (unsigned row = first; row <= last; row++) {
		/* The largest value's bucket may reach beyond the last row: none is left out. */
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
