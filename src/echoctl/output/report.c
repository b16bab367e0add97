/* SPDX-License-Identifier: MIT */
/* Results as text or JSON lines, diagnostics on stderr. */
#include "echoctl/output/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

json_t *report_string(const char *text)
{
	json_t *string;

	if (!text)
		return json_null();
	string = json_string(text);
	return string ? string : ascii_string(text);
}

static void note_write(struct report *report, bool written)
{
	if (!written && report->error == 0)
		report->error = errno != 0 ? -errno : -EIO;
}

void report_json(struct report *report, json_t *object)
{
	char *line;

	if (report->json) {
		line = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(12));
		errno = ENOMEM;
		note_write(report, line && fputs(line, stdout) >= 0 && putchar('\n') != EOF &&
				   fflush(stdout) == 0);
		free(line);
	}
	json_decref(object);
}

void report_failure(struct report *report, const char *host, const char *address,
		    const char *phase, int error, const char *why)
{
	report_json(report, json_pack("{s:s, s:o, s:o, s:s, s:s?, s:o}", "event", "error",
				      "host", report_string(host),
				      "address", report_string(address), "phase", phase,
				      "errno", error ? strerrorname_np(error) : NULL,
				      "message", report_string(why)));
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
