/* SPDX-License-Identifier: MIT */
/*
 * Where results leave echoctl: human text or one JSON object a line; diagnostics to stderr.
 * Properties of the terminal, and the line of progress. Sizes and times for people.
 */
#ifndef ECHOCTL_OUTPUT_REPORT_H
#define ECHOCTL_OUTPUT_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include <jansson.h>

/* Whether failures are red: if the stream is a terminal that obeys and NO_COLOR is not set. */
enum report_color {
	COLOR_AUTO,
	COLOR_ALWAYS,
	COLOR_NEVER,
};

struct report {
	bool json;	/* results are JSON objects, one a line, instead of text */
	bool quiet;	/* no notes */
	enum report_color color;
	const char *target;	/* target of the next JSON lines, or NULL */
	int error;	/* first failed write of a result: -errno, else 0 */
};

/*
 * Call it before anything is written: from now on writes to stdout and stderr wait even if these
 * are non-blocking.
 */
void report_open(void);

/* For json_pack(): text that is not UTF-8 has its bytes above 127 replaced. NULL: null. */
json_t *report_string(const char *text);

/* Emits object as one line in JSON mode, nothing else; frees it in any case. NULL: no memory. */
void report_json(struct report *report, json_t *object);

/*
 * In JSON mode emits the "error" event of a target that was not reached or a connection that broke.
 * address may be NULL; error is an errno, 0: none.
 */
void report_failure(struct report *report, const char *host, const char *address,
		    const char *phase, int error, const char *why);

/*
 * Writes a result for people to stdout; nothing in JSON mode. Text of others must not control the
 * terminal: control characters are written as \x1b, except line feeds. A terminal gets lines that
 * are broken at spaces where they would be wider than it.
 */
void report_text(struct report *report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The same; a failure is red if colours are wanted. */
void report_outcome(struct report *report, bool failed, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same without escaping, for escape codes of our own. */
void report_raw(struct report *report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* What report_text() writes for the text; the caller frees it; NULL: no memory. */
char *report_escape(const char *text, bool keep_lines);

/*
 * Breaks lines at spaces so that none is wider than so many columns, if it has such spaces.
 * *column: where the text begins, then where it has ended. The caller frees it; NULL: no memory.
 */
char *report_fold(const char *text, unsigned columns, unsigned *column);

/* strerror(3), and what limit of this host it is about; static until the next call. */
const char *report_why(int error);

/* A diagnostic of a failure: "echoctl: ..." and a newline on stderr, always. */
void report_error(const struct report *report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The same for what a signal asked for. */
void report_state(const struct report *report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The same for a remark: nothing with -q. */
#define report_note(report, ...) \
	((report)->quiet ? (void)0 : report_state(report, __VA_ARGS__))

/* Whether results can still be written: a long command ends if not. */
bool report_heard(const struct report *report);

/*
 * If results could not be written, reports why (not if the reader is gone) and returns false. Call
 * it before exiting.
 */
bool report_finish(struct report *report);

/* Whether fd is a terminal with escape codes; with TERM=dumb it is not. */
bool terminal_obeys(int fd);

/* Size of the terminal that fd is, or else 80 columns and 24 rows. */
struct winsize terminal_size(int fd);

/* Whether the locale allows block characters. */
bool terminal_has_blocks(void);

/*
 * Shows a line of progress on stderr in the place of the one before, cut at the width of the
 * terminal; if terminal_obeys(STDERR_FILENO). Results and remarks take its place.
 */
void terminal_show(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Keeps the line of progress on the screen, if there is one; the next one is below. */
void terminal_keep(void);

#define UNITS_TEXT_MAX 24

/* "512 B", "1.5 MiB" */
const char *units_bytes(double bytes, char text[UNITS_TEXT_MAX]);

/* To three digits: "950 ns", "1.23 ms" */
const char *units_time(uint64_t time_ns, char text[UNITS_TEXT_MAX]);

/* "950 ms", "12 s", "3 min 4 s", "2 h 5 min", "9 d 3 h" */
const char *units_age(uint64_t age_ns, char text[UNITS_TEXT_MAX]);

#endif
