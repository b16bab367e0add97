/* SPDX-License-Identifier: MIT */
/*
 * The script for gnuplot. Names of files and targets come from others: they stand in single quotes,
 * where gnuplot replaces nothing, and the data are numbers that we have written ourselves.
 */
#include "echoctl/plot/script.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "echoctl/output/report.h"

#define PANEL_WIDTH 640		/* pixels */
#define PANEL_HEIGHT 360
#define TEXT_WIDTH_MIN 40	/* columns */
#define TEXT_HEIGHT 16
#define NAMED_MAX 10		/* curves that the key names */
#define LOGARITHMIC_FROM 30.0	/* largest by smallest latency */
#define QUANTILE_STEP 1.05
#define FAILURES_AT 0.08	/* of the height */

struct range {
	double from;
	double to;
	double failures;		/* where these are shown, which have no latency */
	bool logarithmic;
};

/* In single quotes; control characters and what is not UTF-8, as SVG must be, are replaced. */
static void write_quoted(FILE *script, const char *text)
{
	json_t *valid = report_string(text);
	char *escaped = report_escape(valid ? json_string_value(valid) : "", false);

	fputc('\'', script);
	for (const char *c = escaped ? escaped : ""; *c; c++)
		fprintf(script, *c == '\'' ? "''" : "%c", *c);
	fputc('\'', script);
	free(escaped);
	json_decref(valid);
}

static void write_points(FILE *script, const char *block, size_t file, size_t index,
			 const struct curve *curve)
{
	fprintf(script, "$%s_%zu_%zu << END\n", block, file, index);
	for (size_t i = 0; i < curve->n; i++)
		fprintf(script, "%.6f %.9g\n", curve->points[i].s, curve->points[i].ms);
	fputs("END\n", script);
}

/*
 * Pairs of x and the latency that the share 1 - 1/x of the answers does not exceed, up to the x
 * that the number of answers can tell: a logarithmic x spreads the tail.
 */
static void write_quantiles(FILE *script, size_t file, size_t index,
			    const struct histogram *distribution)
{
	double x = 1;

	fprintf(script, "$quantiles_%zu_%zu << END\n", file, index);
	while (x <= (double)distribution->count) {
		fprintf(script, "%.6f %.9g\n", x,
			(double)histogram_percentile(distribution, 100 - 100 / x) / 1e6);
		x *= QUANTILE_STEP;
	}
	fprintf(script, "%.6f %.9g\nEND\n", (double)distribution->count,
		(double)distribution->max_ns / 1e6);
}

/* The common scale of all latencies. */
static struct range find_range(const struct curves *files, size_t n)
{
	struct range range = { .to = 0 };
	double least = 0;

	for (size_t f = 0; f < n; f++) {
		range.to = fmax(range.to, files[f].most_ms);
		if (files[f].least_ms > 0 && (least == 0 || files[f].least_ms < least))
			least = files[f].least_ms;
	}
	range.logarithmic = least > 0 && range.to / least > LOGARITHMIC_FROM;
	range.from = range.logarithmic ? least / 1.5 : 0;
	range.to = range.to > 0 ? range.to * (range.logarithmic ? 1.5 : 1.1) : 1;
	range.failures = range.logarithmic ?
		range.from * pow(range.to / range.from, FAILURES_AT) : range.to * FAILURES_AT;
	return range;
}

/* How curve number index looks: as lines or points. */
static void write_style(FILE *script, const char *with, size_t index, const char *name, bool text)
{
	/* Those of Okabe and Ito, which the colour-blind can tell apart, without the pale one. */
	static const char *const colours[] = {
		"#000000", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9",
	};

	fprintf(script, " with %s lc rgb '%s'", with,
		colours[index % (sizeof(colours) / sizeof(*colours))]);
	/* In text the number of a shape is that of a letter. */
	if (strcmp(with, "lines") != 0)
		fprintf(script, " pt %zu ps 0.5", text ? index + 1 : 7);
	fputs(" title ", script);
	write_quoted(script, index < NAMED_MAX ? name : "");
}

static void draw_time(FILE *script, size_t file, const struct curves *curves, const char *name,
		      const struct range *range, bool text)
{
	const char *load_style = text ? "lines" : "linespoints";
	double margin_s = curves->end_s * 0.02 + 1e-3;

	fputs("unset logscale x\nset xtics auto\nset title ", script);
	write_quoted(script, name);
	fprintf(script, ".\"\\n%" PRIu64 " ok, %" PRIu64 " failed\"\n"
		"set xrange [%.6f:%.6f]\nplot NaN notitle", curves->ok, curves->failed,
		-margin_s, curves->end_s + margin_s);
	for (size_t i = 0; i < curves->n; i++) {
		if (curves->list[i].n == 0)
			continue;
		fprintf(script, ", $time_%zu_%zu", file, i);
		write_style(script, curves->of_load ? load_style : "points", i,
			    curves->list[i].name, text);
	}
	if (curves->failures.n > 0)
		fprintf(script, ", $failures_%zu_0 using 1:(%.9g) with points lc rgb 'red' "
			"pt %d ps 1 lw 2 title 'failed'", file, range->failures,
			text ? 'X' - 'A' + 1 : 2);
	fputc('\n', script);
}

static void draw_distribution(FILE *script, size_t file, const struct curves *curves, bool text)
{
	uint64_t most = 1;

	for (size_t i = 0; i < curves->n; i++) {
		if (curves->list[i].distribution.count > most)
			most = curves->list[i].distribution.count;
	}
	fprintf(script, "set logscale x\nset xtics ('0' 1, '50' 2, '90' 10, '99' 100, '99.9' 1000, "
		"'99.99' 10000, '99.999' 100000, '99.9999' 1000000)\nset title 'percentiles'\n"
		"set xrange [1:%.6f]\nplot NaN notitle",
		(double)most * 1.2 + 1);
	for (size_t i = 0; i < curves->n; i++) {
		if (curves->list[i].distribution.count == 0)
			continue;
		fprintf(script, ", $quantiles_%zu_%zu", file, i);
		write_style(script, "lines", i, curves->of_load ? "" : curves->list[i].name, text);
	}
	fputc('\n', script);
}

static void write_data(FILE *script, size_t file, const struct curves *curves)
{
	write_points(script, "failures", file, 0, &curves->failures);
	for (size_t i = 0; i < curves->n; i++) {
		write_points(script, "time", file, i, &curves->list[i]);
		write_quantiles(script, file, i, &curves->list[i].distribution);
	}
}

void script_write(FILE *script, const struct curves *files, char *const *paths, size_t n,
		  const char *format, unsigned width)
{
	struct range range = find_range(files, n);
	size_t columns;
	size_t rows;

	assert(n > 0);
	columns = format || width / n >= TEXT_WIDTH_MIN ? n : 1;
	rows = 2 * n / columns;
	if (format)
		fprintf(script, "set terminal %s noenhanced size %zu,%zu background '#ffffff' "
			"font 'sans,%d'\n", format, columns * PANEL_WIDTH, rows * PANEL_HEIGHT,
			*format == 's' ? 13 : 10);
	else
		fprintf(script, "set terminal dumb noenhanced mono nofeed size %u,%zu\n",
			width > TEXT_WIDTH_MIN ? width - 1 : TEXT_WIDTH_MIN, rows * TEXT_HEIGHT);
	for (size_t f = 0; f < n; f++)
		write_data(script, f, &files[f]);
	fprintf(script, "set encoding utf8\nset grid\nset key below samplen 2 width 2\n"
		"set format x '%%g s'\nset format y '%%g ms'\nset yrange [%.9g:%.9g]\n%s"
		"set multiplot layout %zu,%zu columnsfirst\n", range.from, range.to,
		range.logarithmic ? "set logscale y\n" : "", rows, columns);
	for (size_t f = 0; f < n; f++) {
		draw_time(script, f, &files[f], basename(paths[f]), &range, !format);
		draw_distribution(script, f, &files[f], !format);
	}
	fputs("unset multiplot\n", script);
}
