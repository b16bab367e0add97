/* SPDX-License-Identifier: MIT */
/*
 * Event records as the supervisor reads them: whatever a listener or a worker wrote, one
 * printable line comes out of it, in the form of each sink.
 */
#include <string.h>

#include "echod/report/report.h"
#include "fuzz.h"
#include "wire/event.h"

static void check_line(const char *line)
{
	size_t size = strlen(line);

	FUZZ_CHECK(size > 0 && size < LOG_FORM_MAX - 1);
	for (size_t i = 0; i + 1 < size; i++)
		FUZZ_CHECK((unsigned char)line[i] >= ' ');
}

static void check_event(const struct event *event, const char *unix_path)
{
	static struct log_record record;
	static char line[LOG_FORM_MAX];

	report_fill(&record, event, unix_path);
	log_record_to_stderr(&record, false, line);
	check_line(line);
	log_record_to_syslog(&record, line);
	check_line(line);
	log_record_to_journal(&record, line);
	FUZZ_CHECK(strlen(line) < LOG_FORM_MAX - 1);
	FUZZ_CHECK(!record.fields.is_full);
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
