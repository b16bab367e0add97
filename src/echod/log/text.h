/* SPDX-License-Identifier: MIT */
/* The text of one log line, escaped while it is put together. */
#ifndef ECHOD_LOG_TEXT_H
#define ECHOD_LOG_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "echod/log/log.h"

/* With prefix and newline a line stays below PIPE_BUF: one write, never torn (pipe(7)). */
#define LOG_TEXT_MAX 3968

/* Starts as {}. Always NUL-terminated, free of control characters and valid UTF-8. */
struct log_text {
	size_t size;			/* without the NUL */
	bool is_full;			/* something did not fit: the text ends in "..." */
	char bytes[LOG_TEXT_MAX + 1];
};

/*
 * Appends value. Control characters (C0, DEL, C1), backslashes and bytes that are not UTF-8
 * (RFC 3629) become \xNN, so that one line stays one line and the form is unambiguous.
 */
void log_text_append(struct log_text *text, const char *value);

/* Appends "WORD name=value name=value"; an empty value, or one with a space or quote, is quoted. */
void log_text_append_fields(struct log_text *text, const char *word,
			    const struct log_field *fields, size_t count);

#endif
