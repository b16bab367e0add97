/* SPDX-License-Identifier: MIT */
/* Results as text or JSON lines, diagnostics on stderr. */
#include "echoctl/output/report.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "echoctl/output/terminal.h"

/* For fopencookie(3): waits for a descriptor that somebody else has made non-blocking. */
static ssize_t write_waiting(void *cookie, const char *bytes, size_t size)
{
	struct pollfd polled = {.fd = *(int *)cookie, .events = POLLOUT};
	size_t written = 0;

	while (written < size) {
		ssize_t n = write(polled.fd, bytes + written, size - written);

		if (n >= 0)
			written += (size_t)n;
		else if (errno == EAGAIN)
			poll(&polled, 1, -1);
		else if (errno != EINTR)
			break;
	}
	return (ssize_t)written;
}

void report_open(void)
{
	static int fds[] = {STDOUT_FILENO, STDERR_FILENO};
	const cookie_io_functions_t functions = {.write = write_waiting};
	FILE *out = fopencookie(&fds[0], "w", functions);
	FILE *errors = fopencookie(&fds[1], "w", functions);

	if (out)
		stdout = out;
	if (!errors)
		return;
	setvbuf(errors, NULL, _IONBF, 0);
	stderr = errors;
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

char *report_escape(const char *text, bool keep_lines)
{
	char *escaped = malloc(4 * strlen(text) + 1);
	char *end = escaped;

	for (; escaped && *text; text++) {
		if (iscntrl((unsigned char)*text) && !(*text == '\n' && keep_lines))
			end += sprintf(end, "\\x%02x", (unsigned char)*text);
		else
			*end++ = *text;
	}
	if (escaped)
		*end = '\0';
	return escaped;
}

__attribute__((format(printf, 1, 0)))
static char *format_escaped(const char *format, va_list arguments, bool keep_lines)
{
	char *escaped = NULL;
	char *text;

	if (vasprintf(&text, format, arguments) < 0)
		return NULL;
	escaped = report_escape(text, keep_lines);
	free(text);
	return escaped;
}

void report_raw(struct report *report, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	note_write(report, vprintf(format, arguments) >= 0 && fflush(stdout) == 0);
	va_end(arguments);
}

void report_text(struct report *report, const char *format, ...)
{
	va_list arguments;
	char *text;

	if (report->json)
		return;
	va_start(arguments, format);
	text = format_escaped(format, arguments, true);
	va_end(arguments);
	terminal_clear();
	errno = ENOMEM;
	note_write(report, text && fputs(text, stdout) >= 0 && fflush(stdout) == 0);
	free(text);
}

__attribute__((format(printf, 1, 0)))
static void say(const char *format, va_list arguments)
{
	char *text = format_escaped(format, arguments, false);

	terminal_clear();
	/* In one write, so that it stays whole among the output of others. */
	fprintf(stderr, "echoctl: %s\n", text ? text : strerror(ENOMEM));
	free(text);
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
	/* A reader that has enough, as head(1), knows that. */
	if (report->error != 0 && report->error != -EPIPE)
		report_error(report, "standard output: %s", strerror(-report->error));
	return report->error == 0;
}
