/* SPDX-License-Identifier: MIT */
/* Where results leave echoctl: human text or one JSON object a line; diagnostics to stderr. */
#ifndef ECHOCTL_OUTPUT_REPORT_H
#define ECHOCTL_OUTPUT_REPORT_H

#include <stdbool.h>
#include <stdint.h>

struct report {
	bool json;	/* results are JSON objects, one a line, instead of text */
	bool quiet;	/* no notes */
	int error;	/* first failed write of a result: -errno, else 0 */
};

/* One JSON object being built. Failures to allocate surface in report_record(). */
struct record;

/* A record with its "event" in front, or a nested one (event NULL). The caller owns it. */
struct record *record_new(const char *event);
void record_integer(struct record *record, const char *key, int64_t value);
void record_real(struct record *record, const char *key, double value);	/* NaN, inf: null */
void record_flag(struct record *record, const char *key, bool value);
/* Text that is not UTF-8 has its bytes above 127 replaced. NULL: null. */
void record_text(struct record *record, const char *key, const char *value);
/* Take ownership of child: as a member, or as one more element of the array of that name. */
void record_attach(struct record *record, const char *key, struct record *child);
void record_append(struct record *record, const char *key, struct record *child);
/* An empty array of that name, so that it is there even when nothing gets appended. */
void record_array(struct record *record, const char *key);

/* For a record that is not to be emitted after all. */
void record_free(struct record *record);

/* The record as a line with its newline, the caller frees it; NULL: no memory. Frees the record. */
char *record_line(struct record *record);

/* Emits the record as one line in JSON mode, nothing else; frees it in any case. */
void report_record(struct report *report, struct record *record);

/* The same for a line (without newline) that is JSON already. */
void report_line(struct report *report, const char *line);

/* A result for people: to stdout as it stands, nothing in JSON mode. */
void report_text(struct report *report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A remark for people: "echoctl: ..." and a newline on stderr, nothing with -q. */
void report_note(const struct report *report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A diagnostic, or what a signal asked for: "echoctl: ..." and a newline on stderr, always. */
void report_error(const struct report *report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Whether results can still be written: a command that goes on for long ends when not. */
bool report_heard(const struct report *report);

/* Says why results could not be written, if so. Returns false then. Call it before exiting. */
bool report_finish(struct report *report);

#endif
