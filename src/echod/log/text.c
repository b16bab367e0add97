/* SPDX-License-Identifier: MIT */
/* Escaping of log lines: the one place where it is done, for every sink. */
#include "echod/log/text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char cut_mark[] = "...";

static bool is_continuation(unsigned char byte)
{
	return (byte & 0xc0) == 0x80;
}

/* Length of the UTF-8 sequence at bytes, 0 when there is none. Stops at the NUL by itself. */
static size_t utf8_length(const unsigned char *bytes)
{
	uint32_t code;

	if (bytes[0] < 0x80)
		return 1;
	if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || !is_continuation(bytes[1]))
		return 0;
	if (bytes[0] < 0xe0)
		return 2;
	if (!is_continuation(bytes[2]))
		return 0;
	if (bytes[0] < 0xf0) {
		code = (bytes[0] & 0x0fu) << 12 | (bytes[1] & 0x3fu) << 6 | (bytes[2] & 0x3fu);
		return code < 0x800 || (code >= 0xd800 && code <= 0xdfff) ? 0 : 3;
	}
	if (!is_continuation(bytes[3]))
		return 0;
	code = (bytes[0] & 0x07u) << 18 | (bytes[1] & 0x3fu) << 12;
	return code < 0x10000 || code > 0x10ffff ? 0 : 4;
}

static bool is_control(const unsigned char *bytes)
{
	return bytes[0] < 0x20 || bytes[0] == 0x7f || (bytes[0] == 0xc2 && bytes[1] < 0xa0);
}

/* Appends size bytes as they are: all or, with the mark that says so, none. */
static void append_raw(struct log_text *text, const char *bytes, size_t size)
{
	if (text->is_full)
		return;
	if (text->size + size > LOG_TEXT_MAX - strlen(cut_mark)) {
		text->is_full = true;
		bytes = cut_mark;
		size = strlen(cut_mark);
	}
	memcpy(text->bytes + text->size, bytes, size);
	text->size += size;
	text->bytes[text->size] = '\0';
}

static void append_escaped(struct log_text *text, const char *value, bool is_quoted)
{
	const unsigned char *at = (const unsigned char *)value;
	char escape[sizeof("\\xff")];
	size_t length;

	while (*at != '\0') {
		length = utf8_length(at);
		if (length > 0 && !is_control(at) && *at != '\\' && !(is_quoted && *at == '"')) {
			append_raw(text, (const char *)at, length);
			at += length;
			continue;
		}
		snprintf(escape, sizeof(escape), "\\x%02x", *at);
		append_raw(text, escape, strlen(escape));
		at++;
	}
}

void log_text_append(struct log_text *text, const char *value)
{
	append_escaped(text, value, false);
}

void log_text_append_fields(struct log_text *text, const char *word,
			    const struct log_field *fields, size_t count)
{
	bool is_quoted;

	append_escaped(text, word, false);
	for (size_t i = 0; i < count; i++) {
		is_quoted = fields[i].value[0] == '\0' || strpbrk(fields[i].value, " \"") != NULL;
		append_raw(text, " ", 1);
		append_escaped(text, fields[i].name, false);
		append_raw(text, "=", 1);
		if (is_quoted)
			append_raw(text, "\"", 1);
		append_escaped(text, fields[i].value, is_quoted);
		if (is_quoted)
			append_raw(text, "\"", 1);
	}
}
