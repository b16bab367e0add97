/* SPDX-License-Identifier: MIT */
/* Reads comma-separated values (RFC 4180, but a field has no line breaks) into curves. */
#include "echoctl/plot/curves.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 64
#define NUMBER_MAX 1e12
#define NS_PER_MS 1e6

enum column {
	ELAPSED,
	TARGET,
	RESULT,
	RTT,
	OK,
	LOST,
	P50,
	MAX = P50 + 4,
	COLUMNS,
};

static const char *const column_names[COLUMNS] = {
	[ELAPSED] = "elapsed_s", [TARGET] = "target", [RESULT] = "result", [RTT] = "rtt_ms",
	[OK] = "ok", [LOST] = "lost",
	[P50] = "p50_ms", "p90_ms", "p99_ms", "p99.9_ms", [MAX] = "max_ms",
};

/* The names of load's curves, and the share of the answers up to each. */
static const struct {
	const char *name;
	double percent;
} levels[] = { { "p50", 50 }, { "p90", 90 }, { "p99", 99 }, { "p99.9", 99.9 }, { "max", 100 } };

struct table {
	size_t n_fields;
	size_t places[COLUMNS];		/* which field each is; FIELDS_MAX: it is missing */
};

/* Takes the quotes off the field at text. Returns its end, or NULL: the quotes do not fit. */
static char *unquote(char *text)
{
	char *end = text;

	for (char *c = text + 1; *c; c++) {
		bool is_quote = *c == '"';

		if (is_quote)
			c++;
		if (is_quote && *c != '"') {
			*end = '\0';
			return *c == ',' || *c == '\0' ? c : NULL;
		}
		*end++ = *c;
	}
	return NULL;
}

/* Cuts the line into fields. Returns how many, 0: it is malformed. */
static size_t split(char *line, char *fields[FIELDS_MAX])
{
	size_t n = 0;
	char *end;

	line[strcspn(line, "\r\n")] = '\0';
	for (;;) {
		fields[n] = line;
		end = *line == '"' ? unquote(line) : line + strcspn(line, ",");
		if (!end || ++n == FIELDS_MAX)
			return 0;
		if (*end == '\0')
			return n;
		*end = '\0';
		line = end + 1;
	}
}

static bool has(const struct table *table, enum column first, enum column last)
{
	bool all = true;

	for (enum column i = first; i <= last; i++)
		all &= table->places[i] < FIELDS_MAX;
	return all;
}

static const char *read_header(char **fields, struct table *table, struct curves *curves)
{
	for (enum column i = 0; i < COLUMNS; i++) {
		table->places[i] = FIELDS_MAX;
		for (size_t n = 0; n < table->n_fields; n++) {
			if (strcmp(fields[n], column_names[i]) == 0)
				table->places[i] = n;
		}
	}
	curves->of_load = has(table, OK, MAX);
	if (!has(table, ELAPSED, TARGET) || (!curves->of_load && !has(table, RESULT, RTT)))
		return "not the header of a series of ping or load";
	return NULL;
}

/* The curve of that name, which is added if it is not there. NULL: no memory. */
static struct curve *find_curve(struct curves *curves, const char *name)
{
	struct curve *list;

	for (size_t i = 0; i < curves->n; i++) {
		if (strcmp(curves->list[i].name, name) == 0)
			return &curves->list[i];
	}
	list = reallocarray(curves->list, curves->n + 1, sizeof(*list));
	if (!list)
		return NULL;
	curves->list = list;
	list[curves->n] = (struct curve){ .name = strdup(name) };
	return list[curves->n].name ? &list[curves->n++] : NULL;
}

static bool add_point(struct curves *curves, struct curve *curve, double s, double ms)
{
	if (ms > 0 && (curves->least_ms == 0 || ms < curves->least_ms))
		curves->least_ms = ms;
	if (ms > curves->most_ms)
		curves->most_ms = ms;
	/* The room doubles whenever it is full. */
	if ((curve->n & (curve->n - 1)) == 0) {
		struct curve_point *points = reallocarray(
			curve->points, curve->n > 0 ? 2 * curve->n : 1, sizeof(*points));

		if (!points)
			return false;
		curve->points = points;
	}
	curve->points[curve->n++] = (struct curve_point){ s, ms };
	return true;
}

/* Reads a number that is not negative; NAN if the field is empty. */
static bool read_number(const struct table *table, char **fields, enum column column,
			double *ret_value)
{
	const char *text = fields[table->places[column]];
	char *end = NULL;
	double value = *text ? strtod(text, &end) : NAN;

	if (*text && (*end != '\0' || !(value >= 0 && value <= NUMBER_MAX)))
		return false;
	*ret_value = value;
	return true;
}

/* A probe of ping. */
static const char *read_probe(const struct table *table, char **fields, double s,
			      struct curves *curves)
{
	const char *result = fields[table->places[RESULT]];
	struct curve *curve = find_curve(curves, fields[table->places[TARGET]]);
	double ms;

	if (!read_number(table, fields, RTT, &ms))
		return "rtt_ms is not a number";
	if (!curve)
		return strerror(ENOMEM);
	if (strcmp(result, "ok") != 0 && strcmp(result, "late") != 0) {
		curves->failed++;
		return add_point(curves, &curves->failures, s, 0) ? NULL : strerror(ENOMEM);
	}
	curves->ok++;
	/* An answer that came while ping was stopped has no time. */
	if (isnan(ms))
		return NULL;
	histogram_record(&curve->distribution, (uint64_t)(ms * NS_PER_MS));
	return add_point(curves, curve, s, ms) ? NULL : strerror(ENOMEM);
}

/* A second of load: each percentile stands for the answers between it and the one below. */
static const char *read_second(const struct table *table, char **fields, double s,
			       struct curves *curves)
{
	uint64_t counted = 0;
	double ok;
	double lost;
	double ms;

	if (!read_number(table, fields, OK, &ok) || !read_number(table, fields, LOST, &lost) ||
	    isnan(ok) || isnan(lost))
		return "ok or lost is not a number";
	for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++) {
		struct curve *curve = find_curve(curves, levels[i].name);
		uint64_t up_to = (uint64_t)ceil(levels[i].percent / 100 * ok);

		if (!read_number(table, fields, P50 + i, &ms))
			return "a percentile is not a number";
		if (!curve || (!isnan(ms) && !add_point(curves, curve, s, ms)))
			return strerror(ENOMEM);
		if (!isnan(ms))
			histogram_record_many(&curves->list[0].distribution,
					      (uint64_t)(ms * NS_PER_MS), up_to - counted);
		counted = up_to;
	}
	curves->ok += (uint64_t)ok;
	curves->failed += (uint64_t)lost;
	return lost == 0 || add_point(curves, &curves->failures, s, 0) ? NULL : strerror(ENOMEM);
}

static const char *read_row(const struct table *table, char **fields, struct curves *curves)
{
	double s;

	if (!read_number(table, fields, ELAPSED, &s) || isnan(s))
		return "elapsed_s is not a number";
	if (s > curves->end_s)
		curves->end_s = s;
	return curves->of_load ? read_second(table, fields, s, curves) :
		read_probe(table, fields, s, curves);
}

const char *curves_read(FILE *file, struct curves *curves, size_t *ret_line)
{
	struct table table = {0};
	const char *why = NULL;
	char *fields[FIELDS_MAX];
	char *line = NULL;
	size_t size = 0;
	size_t n = 0;

	while (!why && getline(&line, &size, file) > 0) {
		size_t n_fields = split(line, fields);

		if (++n == 1)
			table.n_fields = n_fields;
		if (n_fields == 0)
			why = "quotes do not fit, or there are too many fields";
		else if (n_fields != table.n_fields)
			why = "not as many fields as in the first line";
		else
			why = n == 1 ? read_header(fields, &table, curves) :
				read_row(&table, fields, curves);
	}
	if (!why && (ferror(file) || n < 2)) {
		why = ferror(file) ? strerror(errno) : "no rows";
		n = 0;
	}
	free(line);
	*ret_line = n;
	return why;
}

void curves_free(struct curves *curves)
{
	for (size_t i = 0; i < curves->n; i++) {
		free(curves->list[i].name);
		free(curves->list[i].points);
	}
	free(curves->failures.points);
	free(curves->list);
	*curves = (struct curves){0};
}
