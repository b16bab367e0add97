/* SPDX-License-Identifier: MIT */
/* Results as text or JSON lines, diagnostics on stderr. */
#include "echoctl/output/report.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PROGRESS_MAX 256
#define FOLD "\n  "		/* between the parts of a line that was too wide */
#define RED "\033[31m"		/* ECMA-48 SGR */
#define PLAIN "\033[m"

static bool progress_shown;

/* For fopencookie(3): waits for a descriptor that another program has made non-blocking. */
static ssize_t write_waiting(void *cookie, const char *bytes, size_t size)
{
	struct pollfd polled = { .fd = *(int *)cookie, .events = POLLOUT };
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
	const cookie_io_functions_t functions = { .write = write_waiting };
	FILE *out = fopencookie(&fds[0], "w", functions);
	FILE *errors = fopencookie(&fds[1], "w", functions);

	if (out)
		stdout = out;
	if (!errors)
		return;
	setvbuf(errors, NULL, _IONBF, 0);
	stderr = errors;
}

json_t *report_string(const char *text)
{
	json_t *string = json_string(text);	/* NULL for NULL too */
	char *copy;

	if (!text)
		return json_null();
	copy = string ? NULL : strdup(text);
	if (!copy)
		return string;
	for (char *c = copy; *c; c++) {
		if ((unsigned char)*c > 127)
			*c = '?';
	}
	string = json_string(copy);
	free(copy);
	return string;
}

bool terminal_obeys(int fd)
{
	const char *name = getenv("TERM");

	return isatty(fd) && name && strcmp(name, "dumb") != 0;
}

struct winsize terminal_size(int fd)
{
	struct winsize size = {0};

	(void)ioctl(fd, TIOCGWINSZ, &size);
	if (size.ws_col == 0)
		size.ws_col = 80;
	if (size.ws_row == 0)
		size.ws_row = 24;
	return size;
}

bool terminal_has_blocks(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

void terminal_show(const char *format, ...)
{
	unsigned columns = terminal_size(STDERR_FILENO).ws_col;
	char text[PROGRESS_MAX];
	va_list arguments;

	/* One column stays free: some terminals wrap when the last one is written. */
	va_start(arguments, format);
	vsnprintf(text, columns < sizeof(text) ? columns : sizeof(text), format, arguments);
	va_end(arguments);
	/* Carriage return, text, erase to the end of the line (ECMA-48 EL). */
	fprintf(stderr, "\r%s\033[K", text);
	progress_shown = true;
}

/* Removes the line of progress. */
static void terminal_clear(void)
{
	if (progress_shown)
		fputs("\r\033[K", stderr);
	progress_shown = false;
}

void terminal_keep(void)
{
	if (progress_shown)
		fputc('\n', stderr);
	progress_shown = false;
}

static void note_write(struct report *report, bool written)
{
	if (!written && report->error == 0)
		report->error = errno != 0 ? -errno : -EIO;
}

void report_json(struct report *report, json_t *object)
{
	if (report->json && report->target)
		json_object_set_new(object, "target", report_string(report->target));
	errno = ENOMEM;
	if (report->json)
		note_write(report, json_dumpf(object, stdout, JSON_COMPACT |
					      JSON_REAL_PRECISION(12)) == 0 &&
				   putchar('\n') != EOF && fflush(stdout) == 0);
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

/* How many bytes a control character has that the text begins with; those of ECMA-48, C1, two. */
static size_t control_bytes(const unsigned char *text)
{
	if (text[0] == 0xc2 && text[1] >= 0x80 && text[1] < 0xa0)
		return 2;
	return iscntrl(text[0]) ? 1 : 0;
}

char *report_escape(const char *text, bool keep_lines)
{
	char *escaped = malloc(4 * strlen(text) + 1);
	char *end = escaped;
	size_t controls = 0;

	for (; escaped && *text; text++) {
		if (controls == 0 && !(*text == '\n' && keep_lines))
			controls = control_bytes((const unsigned char *)text);
		if (controls > 0)
			end += sprintf(end, "\\x%02x", (unsigned char)*text);
		else
			*end++ = *text;
		controls -= controls > 0;
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

/* The end of what stands together: a word, with its unit if it ends in a number. */
static const char *word_end(const char *word)
{
	const char *end = word + strcspn(word, " \n");

	while (end > word && isdigit((unsigned char)end[-1]) && end[0] == ' ' &&
	       isalpha((unsigned char)end[1]))
		end += 1 + strcspn(end + 1, " \n");
	return end;
}

/* Characters of UTF-8; each takes a column in what we print. */
static unsigned width_of(const char *text, const char *end)
{
	unsigned width = 0;

	for (; text < end; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

char *report_fold(const char *text, unsigned columns, unsigned *column)
{
	char *folded = malloc(strlen(FOLD) * strlen(text) + 1);
	char *end = folded;

	while (folded && *text) {
		size_t spaces = strspn(text, " ");
		const char *next = word_end(text + spaces);
		unsigned width = width_of(text, next);

		if (*text == '\n') {
			*end++ = *text++;
			*column = 0;
			continue;
		}
		if (spaces > 0 && next > text + spaces && *column > 0 &&
		    *column + width > columns) {
			end = stpcpy(end, FOLD);
			text += spaces;
			*column = strlen(FOLD) - 1;
			width -= (unsigned)spaces;
		}
		end = mempcpy(end, text, (size_t)(next - text));
		*column += width;
		text = next;
	}
	if (folded)
		*end = '\0';
	return folded;
}

static bool is_colored(const struct report *report, int fd)
{
	const char *no_color = getenv("NO_COLOR");	/* no-color.org */

	if (report->color != COLOR_AUTO)
		return report->color == COLOR_ALWAYS;
	return terminal_obeys(fd) && !(no_color && *no_color);
}

/* Writes what ends in a newline or not, in red if it is bad. Frees the text; NULL: no memory. */
static bool write_text(const struct report *report, FILE *stream, char *text, bool bad)
{
	static unsigned columns[2];
	int fd = stream == stdout ? STDOUT_FILENO : STDERR_FILENO;
	char *folded = text;
	size_t length;
	int written;

	if (text && isatty(fd)) {
		folded = report_fold(text, terminal_size(fd).ws_col,
				     &columns[fd - STDOUT_FILENO]);
		free(text);
	}
	if (!folded) {
		errno = ENOMEM;
		return false;
	}
	length = strlen(folded);
	bad = bad && is_colored(report, fd);
	if (bad && length > 0 && folded[length - 1] == '\n')
		length--;
	/* In one write, so that it stays whole among the output of others. */
	written = fprintf(stream, "%s%.*s%s%s", bad ? RED : "", (int)length, folded,
			  bad ? PLAIN : "", folded + length);
	free(folded);
	return written >= 0 && fflush(stream) == 0;
}

const char *report_why(int error)
{
	static char text[256];
	struct rlimit limit = {0};

	switch (error) {
	case EMFILE:
		getrlimit(RLIMIT_NOFILE, &limit);
		snprintf(text, sizeof(text), "%s: a process may have %llu (ulimit -n)",
			 strerror(error), (unsigned long long)limit.rlim_cur);
		return text;
	case ENFILE:
		snprintf(text, sizeof(text), "%s: see fs.file-max of sysctl", strerror(error));
		return text;
	case EADDRNOTAVAIL:
		snprintf(text, sizeof(text), "%s: no such address here, or no port of "
			 "net.ipv4.ip_local_port_range is free", strerror(error));
		return text;
	default:
		return strerror(error);
	}
}

void report_raw(struct report *report, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	note_write(report, vprintf(format, arguments) >= 0 && fflush(stdout) == 0);
	va_end(arguments);
}

__attribute__((format(printf, 3, 0)))
static void write_result(struct report *report, bool bad, const char *format, va_list arguments)
{
	if (report->json)
		return;
	terminal_clear();
	note_write(report, write_text(report, stdout, format_escaped(format, arguments, true),
				      bad));
}

void report_text(struct report *report, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_result(report, false, format, arguments);
	va_end(arguments);
}

void report_outcome(struct report *report, bool failed, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_result(report, failed, format, arguments);
	va_end(arguments);
}

__attribute__((format(printf, 3, 0)))
static void write_diagnostic(const struct report *report, bool bad, const char *format,
			     va_list arguments)
{
	char *text = format_escaped(format, arguments, false);
	char *line = NULL;

	if (asprintf(&line, "echoctl: %s\n", text ? text : strerror(ENOMEM)) < 0)
		line = NULL;
	free(text);
	terminal_clear();
	write_text(report, stderr, line, bad);
}

void report_error(const struct report *report, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_diagnostic(report, true, format, arguments);
	va_end(arguments);
}

void report_state(const struct report *report, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_diagnostic(report, false, format, arguments);
	va_end(arguments);
}

bool report_heard(const struct report *report)
{
	return report->error == 0;
}

bool report_finish(struct report *report)
{
	note_write(report, fflush(stdout) == 0);
	/* A reader that closes early, as head(1), needs no message. */
	if (report->error != 0 && report->error != -EPIPE)
		report_error(report, "standard output: %s", strerror(-report->error));
	return report->error == 0;
}

const char *units_bytes(double bytes, char text[UNITS_TEXT_MAX])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t unit = 0;

	while (bytes >= 1024 && unit + 1 < sizeof(units) / sizeof(*units)) {
		bytes /= 1024;
		unit++;
	}
	snprintf(text, UNITS_TEXT_MAX, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
	return text;
}

const char *units_time(uint64_t time_ns, char text[UNITS_TEXT_MAX])
{
	static const struct {
		uint64_t ns;
		const char *name;
	} units[] = { { 1000000000, "s" }, { 1000000, "ms" }, { 1000, "us" }, { 1, "ns" } };
	unsigned i = 0;
	unsigned decimals = 2;
	double value;

	while (units[i].ns > 1 && time_ns < units[i].ns)
		i++;
	value = (double)time_ns / (double)units[i].ns;
	if (units[i].ns == 1 || value >= 99.95)
		decimals = 0;
	else if (value >= 9.995)
		decimals = 1;
	snprintf(text, UNITS_TEXT_MAX, "%.*f %s", (int)decimals, value, units[i].name);
	return text;
}

const char *units_age(uint64_t age_ns, char text[UNITS_TEXT_MAX])
{
	uint64_t s = age_ns / 1000000000;

	if (s == 0)
		snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 " ms", age_ns / 1000000);
	else if (s < 60)
		snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 " s", s);
	else if (s < 3600)
		snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 " h %" PRIu64 " min", s / 3600,
			 s / 60 % 60);
	else
		snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 " d %" PRIu64 " h", s / 86400,
			 s / 3600 % 24);
	return text;
}
