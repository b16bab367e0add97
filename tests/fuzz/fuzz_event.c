/* SPDX-License-Identifier: MIT */
/*
 * Event records as the supervisor reads them: whatever a listener or a worker wrote, one
 * printable line comes out of it, in the form of each sink.
 */
#include <string.h>

#include "echod/log/encode.h"
#include "echod/log/text.h"
#include "echod/report/line.h"
#include "fuzz.h"
#include "wire/event.h"

static void check_line(const char *line, size_t size)
{
	FUZZ_CHECK(size > 0 && size < LOG_DATAGRAM_MAX);
	for (size_t i = 0; i + 1 < size; i++)
		FUZZ_CHECK((unsigned char)line[i] >= ' ');
}

static void check_event(const struct event *event, const char *unix_path)
{
	static char bytes[LOG_DATAGRAM_MAX];
	static struct report_line line;
	struct log_text text = {0};
	struct log_record record = {.facility = LOG_DAEMON, .pid = 1, .text = &text};

	report_line_fill(&line, event, unix_path);
	FUZZ_CHECK(line.count <= REPORT_FIELDS_MAX);
	log_text_append_fields(&text, line.word, line.fields, line.count);
	record.priority = report_line_priority(event);
	record.word = line.word;
	record.fields = line.fields;
	record.field_count = line.count;
	check_line(bytes, log_encode_stderr(&record, false, bytes));
	check_line(bytes, log_encode_syslog(&record, bytes));
	FUZZ_CHECK(log_encode_journal(&record, bytes) < LOG_DATAGRAM_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct event event;
	char path[108] = "";

	if (size < sizeof(event))
		return 0;
	memcpy(&event, bytes, sizeof(event));
	event.type = EVENT_OPENED + event.type % 3;
	size -= sizeof(event);
	memcpy(path, bytes + sizeof(event), size < sizeof(path) - 1 ? size : sizeof(path) - 1);
	check_event(&event, size ? path : NULL);
	return 0;
}
