/* SPDX-License-Identifier: MIT */
/* Escaping is done here, once, for every sink: as soon as text comes into a record. */
#include "echod/log/record.h"

#include <assert.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#define IDENTIFIER "echod"
#define VALUE_MAX 1024

static const char cut_mark[] = "...";

/* Fixed for ever: journalctl MESSAGE_ID=... finds the lines of one kind. */
static const struct {
	const char *word;
	const char *id;
} message_ids[] = {
	{"opened", "1bb8651b1c3c46068b14e1b9005131f5"},
	{"closed", "81c8e1d48ff948ac97c07b5493a15e5c"},
	{"refused", "f67bc01a4c7145c5a4a934b6973c2a3c"},
	{"suppressed", "76c58803545f4e7eb0c0922d3f61e2ae"},
	{"starved", "6143638447f74367b5ff04de3c467ccf"},
	{"limit", "98b5ac68a29647588a24300aebc0da7a"},
	{"lost", "31cc9e962c7b4d6daa590451b3059ad8"},
	{"totals", "0b9d4a5833b849668cbc74002d2f9058"},
};

static bool is_continuation(unsigned char byte)
{
	return (byte & 0xc0) == 0x80;
}

/* Length of the UTF-8 sequence at bytes, 0 if there is none. Stops at the NUL by itself. */
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
static void put_bytes(struct log_text *text, const char *bytes, size_t size)
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

static void put(struct log_text *text, const char *string)
{
	put_bytes(text, string, strlen(string));
}

static void put_escaped(struct log_text *text, const char *value, bool is_quoted)
{
	const unsigned char *at = (const unsigned char *)value;
	char escape[sizeof("\\xff")];
	size_t length;

	while (*at != '\0') {
		length = utf8_length(at);
		if (length > 0 && !is_control(at) && *at != '\\' && !(is_quoted && *at == '"')) {
			put_bytes(text, (const char *)at, length);
			at += length;
			continue;
		}
		snprintf(escape, sizeof(escape), "\\x%02x", *at);
		put(text, escape);
		at++;
	}
}

/* Appends all of "NAME=value\n" or nothing; name ends with its "=". */
static void put_field(struct log_text *fields, const char *name, const char *value)
{
	size_t size_before = fields->size;

	put(fields, name);
	put_escaped(fields, value, false);
	put(fields, "\n");
	if (fields->is_full) {
		fields->size = size_before;
		fields->bytes[size_before] = '\0';
	}
}

void log_record_begin(struct log_record *record, int priority, const char *word)
{
	assert(priority >= LOG_EMERG && priority <= LOG_DEBUG);
	record->priority = priority;
	record->text.size = record->fields.size = 0;
	record->text.is_full = record->fields.is_full = false;
	record->text.bytes[0] = record->fields.bytes[0] = '\0';
	if (!word)
		return;
	put(&record->text, word);
	put_field(&record->fields, "ECHOD_EVENT=", word);
	for (size_t i = 0; i < sizeof(message_ids) / sizeof(message_ids[0]); i++)
		if (strcmp(message_ids[i].word, word) == 0)
			put_field(&record->fields, "MESSAGE_ID=", message_ids[i].id);
}

void log_record_text(struct log_record *record, const char *text)
{
	put_escaped(&record->text, text, false);
}

void log_record_error(struct log_record *record, int error)
{
	char number[16];

	assert(error > 0);
	log_record_text(record, ": ");
	log_record_text(record, strerror(error));
	snprintf(number, sizeof(number), "%d", error);
	put_field(&record->fields, "ERRNO=", number);
}

void log_record_add(struct log_record *record, const char *name, const char *format, ...)
{
	char value[VALUE_MAX], journal_name[64];
	va_list arguments;
	const char *quote;

	assert(*name);
	va_start(arguments, format);
	vsnprintf(value, sizeof(value), format, arguments);
	va_end(arguments);

	quote = value[0] == '\0' || strpbrk(value, " \"") ? "\"" : "";
	put(&record->text, " ");
	put(&record->text, name);
	put(&record->text, "=");
	put(&record->text, quote);
	put_escaped(&record->text, value, *quote != '\0');
	put(&record->text, quote);

	snprintf(journal_name, sizeof(journal_name), "ECHOD_%s=", name);
	for (char *at = journal_name; *at != '\0'; at++) {
		if (*at >= 'a' && *at <= 'z')
			*at = (char)(*at - 'a' + 'A');
		else if (*at == '-')
			*at = '_';
	}
	put_field(&record->fields, journal_name, value);
}

void log_record_add_errno(struct log_record *record, unsigned error)
{
	const char *name = error > INT_MAX ? NULL : strerrorname_np((int)error);

	if (!name) {
		log_record_add(record, "errno", "%u", error);
		return;
	}
	log_record_add(record, "errno", "%s", name);
	log_record_add(record, "error", "%s", strerror((int)error));
}

/* LOG_FORM_MAX has room for both texts and for what stands before them. */
void log_record_to_journal(const struct log_record *record, char line[LOG_FORM_MAX])
{
	snprintf(line, LOG_FORM_MAX,
		 "MESSAGE=%s\nPRIORITY=%d\nSYSLOG_FACILITY=%d\nSYSLOG_IDENTIFIER=" IDENTIFIER "\n"
		 "SYSLOG_PID=%d\n%s", record->text.bytes, record->priority,
		 LOG_FAC(record->facility), (int)record->pid, record->fields.bytes);
}

void log_record_to_syslog(const struct log_record *record, char line[LOG_FORM_MAX])
{
	char stamp[sizeof("Jan  1 00:00:00")] = "Jan  1 00:00:00";
	struct tm local;

	/* RFC 3164, 4.1.2: local time; echod never calls setlocale(), so months are English */
	if (localtime_r(&record->time, &local))
		strftime(stamp, sizeof(stamp), "%b %e %T", &local);
	snprintf(line, LOG_FORM_MAX, "<%d>%s " IDENTIFIER "[%d]: %s",
		 record->facility | record->priority, stamp, (int)record->pid,
		 record->text.bytes);
}

void log_record_to_stderr(const struct log_record *record, bool with_priority,
			  char line[LOG_FORM_MAX])
{
	if (with_priority)
		snprintf(line, LOG_FORM_MAX, "<%d>%s\n", record->priority, record->text.bytes);
	else
		snprintf(line, LOG_FORM_MAX, IDENTIFIER ": %s\n", record->text.bytes);
}
