/* SPDX-License-Identifier: MIT */
/* The journal's native protocol, RFC 3164 and plain lines. */
#include "echod/log/encode.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#define IDENTIFIER "echod"

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

static const char *message_id(const char *word)
{
	for (size_t i = 0; i < sizeof(message_ids) / sizeof(message_ids[0]); i++)
		if (strcmp(message_ids[i].word, word) == 0)
			return message_ids[i].id;
	return NULL;
}

/* Appends a formatted piece when all of it fits; returns the new size. */
static size_t append(char bytes[LOG_DATAGRAM_MAX], size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static size_t append(char bytes[LOG_DATAGRAM_MAX], size_t size, const char *format, ...)
{
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(bytes + size, LOG_DATAGRAM_MAX - size, format, arguments);
	va_end(arguments);
	return length < 0 || (size_t)length >= LOG_DATAGRAM_MAX - size ? size :
									 size + (size_t)length;
}

/* "bytes-in" is ECHOD_BYTES_IN. */
static size_t append_field(char bytes[LOG_DATAGRAM_MAX], size_t size, const struct log_field *field)
{
	struct log_text value = {};
	char name[64];
	size_t length = 0;

	for (const char *at = field->name; *at != '\0' && length < sizeof(name) - 1; at++) {
		if (*at >= 'a' && *at <= 'z')
			name[length++] = (char)(*at - 'a' + 'A');
		else
			name[length++] = *at >= '0' && *at <= '9' ? *at : '_';
	}
	name[length] = '\0';
	log_text_append(&value, field->value);
	return append(bytes, size, "ECHOD_%s=%s\n", name, value.bytes);
}

size_t log_encode_journal(const struct log_record *record, char bytes[LOG_DATAGRAM_MAX])
{
	size_t size = 0;

	size = append(bytes, size, "MESSAGE=%s\nPRIORITY=%d\nSYSLOG_FACILITY=%d\n",
		      record->text->bytes, record->priority, LOG_FAC(record->facility));
	size = append(bytes, size, "SYSLOG_IDENTIFIER=" IDENTIFIER "\nSYSLOG_PID=%d\n",
		      (int)record->pid);
	if (record->error != 0)
		size = append(bytes, size, "ERRNO=%d\n", record->error);
	if (record->word == NULL)
		return size;
	size = append(bytes, size, "ECHOD_EVENT=%s\n", record->word);
	if (message_id(record->word) != NULL)
		size = append(bytes, size, "MESSAGE_ID=%s\n", message_id(record->word));
	for (size_t i = 0; i < record->field_count; i++)
		size = append_field(bytes, size, &record->fields[i]);
	return size;
}

size_t log_encode_syslog(const struct log_record *record, char bytes[LOG_DATAGRAM_MAX])
{
	char stamp[sizeof("Jan  1 00:00:00")] = "Jan  1 00:00:00";
	struct tm local;

	/* RFC 3164, 4.1.2: local time; echod never calls setlocale(), so months are English */
	if (localtime_r(&record->time, &local) != NULL)
		strftime(stamp, sizeof(stamp), "%b %e %T", &local);
	return append(bytes, 0, "<%d>%s " IDENTIFIER "[%d]: %s",
		      record->facility | record->priority, stamp, (int)record->pid,
		      record->text->bytes);
}

size_t log_encode_stderr(const struct log_record *record, bool with_priority,
			 char bytes[LOG_DATAGRAM_MAX])
{
	if (with_priority)
		return append(bytes, 0, "<%d>%s\n", record->priority, record->text->bytes);
	return append(bytes, 0, IDENTIFIER ": %s\n", record->text->bytes);
}
