/* SPDX-License-Identifier: MIT */
/* Results as text or JSON lines, diagnostics on stderr. */
#include "echoctl/output/report.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

/* A record is the jansson object itself under a name that keeps jansson out of the header. */
static json_t *to_json(struct record *record)
{
	return (json_t *)record;
}

struct record *record_new(const char *event)
{
	json_t *object = json_object();

	if (event != NULL)
		json_object_set_new(object, "event", json_string(event));
	return (struct record *)object;
}

void record_integer(struct record *record, const char *key, int64_t value)
{
	json_object_set_new(to_json(record), key, json_integer(value));
}

void record_real(struct record *record, const char *key, double value)
{
	json_object_set_new(to_json(record), key, isfinite(value) ? json_real(value) : json_null());
}

void record_flag(struct record *record, const char *key, bool value)
{
	json_object_set_new(to_json(record), key, json_boolean(value));
}

static json_t *ascii_string(const char *value)
{
	char *copy = strdup(value);
	json_t *string = NULL;

	if (copy != NULL) {
		for (char *c = copy; *c != '\0'; c++) {
			if ((unsigned char)*c > 127)
				*c = '?';
		}
		string = json_string(copy);
	}
	free(copy);
	return string;
}

void record_text(struct record *record, const char *key, const char *value)
{
	json_t *string;

	if (value == NULL) {
		json_object_set_new(to_json(record), key, json_null());
		return;
	}
	string = json_string(value);
	if (string == NULL)
		string = ascii_string(value);
	json_object_set_new(to_json(record), key, string);
}

void record_attach(struct record *record, const char *key, struct record *child)
{
	json_object_set_new(to_json(record), key, to_json(child));
}

void record_array(struct record *record, const char *key)
{
	json_object_set_new(to_json(record), key, json_array());
}

void record_append(struct record *record, const char *key, struct record *child)
{
	if (json_object_get(to_json(record), key) == NULL)
		record_array(record, key);
	json_array_append_new(json_object_get(to_json(record), key), to_json(child));
}

void record_free(struct record *record)
{
	json_decref(to_json(record));
}

static void note_write(struct report *report, bool written)
{
	if (!written && report->error == 0)
		report->error = errno != 0 ? -errno : -EIO;
}

void report_record(struct report *report, struct record *record)
{
	char *line;

	if (report->json) {
		line = json_dumps(to_json(record), JSON_COMPACT | JSON_REAL_PRECISION(12));
		errno = ENOMEM;
		note_write(report, line != NULL && fputs(line, stdout) >= 0 &&
				   putchar('\n') != EOF && fflush(stdout) == 0);
		free(line);
	}
	record_free(record);
}

char *record_line(struct record *record)
{
	char *text = json_dumps(to_json(record), JSON_COMPACT);
	char *line = NULL;

	if (text != NULL && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	free(text);
	record_free(record);
	return line;
}

void report_line(struct report *report, const char *line)
{
	if (report->json)
		note_write(report, puts(line) >= 0 && fflush(stdout) == 0);
}

void report_text(struct report *report, const char *format, ...)
{
	va_list arguments;

	if (report->json)
		return;
	va_start(arguments, format);
	note_write(report, vprintf(format, arguments) >= 0 && fflush(stdout) == 0);
	va_end(arguments);
}

__attribute__((format(printf, 1, 0)))
static void say(const char *format, va_list arguments)
{
	char text[1024];

	/* In one write, so that it stays whole among the output of others. */
	vsnprintf(text, sizeof(text), format, arguments);
	fprintf(stderr, "echoctl: %s\n", text);
}

void report_note(const struct report *report, const char *format, ...)
{
	va_list arguments;

	if (report->quiet)
		return;
	va_start(arguments, format);
	say(format, arguments);
	va_end(arguments);
}

void report_error(const struct report *report, const char *format, ...)
{
	va_list arguments;

	(void)report;
	va_start(arguments, format);
	say(format, arguments);
	va_end(arguments);
}

bool report_heard(const struct report *report)
{
	return report->error == 0;
}

bool report_finish(struct report *report)
{
	note_write(report, fflush(stdout) == 0);
	if (report->error == 0)
		return true;
	report_error(report, "standard output: %s", strerror(-report->error));
	return false;
}
