/* SPDX-License-Identifier: MIT */
/* Rows of comma-separated values, each written at once. */
#include "echoctl/output/series.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

const char *series_take(const char *value, struct series *series)
{
	if (strcmp(value, "-") == 0)
		return "standard output has the results";
	series->path = value;
	return *value ? NULL : "the path is empty";
}

static int write_row(struct series *series, const char *row)
{
	int r = row ? fd_write_all(series->fd, row, strlen(row)) : -ENOMEM;

	if (r == 0) {
		series->end += (off_t)strlen(row);
		return 0;
	}
	/* On a full disk there may be a part of it. */
	if (ftruncate(series->fd, series->end) == 0)
		lseek(series->fd, series->end, SEEK_SET);
	if (!series->incomplete)
		report_error(series->report, "%s: %s", series->path, strerror(-r));
	series->incomplete = true;
	return r;
}

int series_open(struct series *series, const char *columns, const struct report *report)
{
	char header[256];
	int r;

	if (!series->path)
		return 0;
	series->report = report;
	/* A pipe must not make us wait for its reader. */
	series->fd = open(series->path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY |
			  O_CLOEXEC, 0666);
	if (series->fd < 0) {
		r = -errno;
		report_error(report, "%s: %s", series->path, strerror(-r));
		return r;
	}
	series->is_open = true;
	snprintf(header, sizeof(header), SERIES_COLUMNS "%s\n", columns);
	return write_row(series, header);
}

/* As a field in quotes. NULL: no memory. */
static char *quote(const char *text)
{
	char *escaped = report_escape(text, false);
	char *quoted = escaped ? malloc(2 * strlen(escaped) + 3) : NULL;
	char *end = quoted;

	if (quoted) {
		*end++ = '"';
		for (const char *c = escaped; *c; c++) {
			if (*c == '"')
				*end++ = '"';
			*end++ = *c;
		}
		strcpy(end, "\"");
	}
	free(escaped);
	return quoted;
}

/* The time of day at a time of CLOCK_MONOTONIC, RFC 3339. */
static void format_time(uint64_t time_ns, char *text, size_t size)
{
	struct timespec now;
	uint64_t wall_ms;
	time_t wall_s;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	wall_ms = ((uint64_t)now.tv_sec * CLOCK_NS_PER_S + (uint64_t)now.tv_nsec - clock_now_ns() +
		   time_ns) / 1000000;
	wall_s = (time_t)(wall_ms / 1000);
	n = strftime(text, size, "%FT%T", gmtime_r(&wall_s, &tm));
	snprintf(text + n, size - n, ".%03uZ", (unsigned)(wall_ms % 1000));
}

void series_add(struct series *series, uint64_t time_ns, const char *target, const char *format,
		...)
{
	double elapsed_s = ((double)time_ns - (double)series->start_ns) / 1e9;
	char *quoted = NULL;
	char *rest = NULL;
	char *row = NULL;
	char time[64];
	va_list arguments;

	if (!series->is_open)
		return;
	format_time(time_ns, time, sizeof(time));
	quoted = quote(target);
	va_start(arguments, format);
	if (vasprintf(&rest, format, arguments) < 0)
		rest = NULL;
	va_end(arguments);
	if (!quoted || !rest ||
	    asprintf(&row, "%s,%.6f,%s,%s\n", time, elapsed_s, quoted, rest) < 0)
		row = NULL;
	write_row(series, row);
	free(row);
	free(rest);
	free(quoted);
}

bool series_close(struct series *series)
{
	if (series->is_open && close(series->fd) < 0 && !series->incomplete) {
		report_error(series->report, "%s: %s", series->path, strerror(errno));
		series->incomplete = true;
	}
	series->is_open = false;
	return !series->incomplete;
}
