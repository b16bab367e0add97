/* SPDX-License-Identifier: MIT */
/*
 * From a call to a line. A line that its sink cannot take now waits in a bounded queue; one
 * that finds no room there is counted, and the count is logged when there is room again.
 */
#include "echod/log/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "echod/log/encode.h"
#include "echod/log/queue.h"
#include "echod/log/sink.h"
#include "echod/log/text.h"

#define CLOSE_WAIT_MS 500	/* what the last lines of a stopping daemon may cost */

static struct {
	int level;
	int facility;
	bool is_open;		/* before that lines go straight to standard error */
	bool is_chosen;		/* the target is what "auto" came to */
	bool is_starting;
	struct log_sink sink;
	struct log_queue queue;
	uint64_t lost;
	uint64_t lost_unsaid;
} state = {.level = LOG_INFO, .facility = LOG_DAEMON};

static size_t encode(const struct log_record *record, char bytes[LOG_DATAGRAM_MAX])
{
	if (state.is_open && state.sink.target == LOG_TARGET_JOURNAL)
		return log_encode_journal(record, bytes);
	if (state.is_open && state.sink.target == LOG_TARGET_SYSLOG)
		return log_encode_syslog(record, bytes);
	return log_encode_stderr(record, state.is_open ? state.sink.with_priority :
				 log_sink_stderr_is_journal(), bytes);
}

static void count_lost(uint64_t lines)
{
	state.lost += lines;
	state.lost_unsaid += lines;
}

/* Writes what waits, as far as that goes. True when nothing is left. */
static bool drain_queue(void)
{
	const char *bytes;
	size_t size;
	int r;

	while ((bytes = log_queue_first(&state.queue, &size)) != NULL) {
		r = log_sink_write(&state.sink, bytes, size);
		if (r == -EAGAIN)
			return false;
		if (r < 0)
			count_lost(1);
		log_queue_drop(&state.queue);
	}
	return true;
}

/* Hands the record to the sink or to the queue before it. False when neither takes it. */
static bool put_record(const struct log_record *record)
{
	char bytes[LOG_DATAGRAM_MAX];
	size_t size = encode(record, bytes);
	int r = -EAGAIN;

	if (state.queue.count == 0)
		r = log_sink_write(&state.sink, bytes, size);
	return r == 0 || (r == -EAGAIN && log_queue_put(&state.queue, bytes, size));
}

static void fill_record(struct log_record *record)
{
	record->facility = state.facility;
	record->pid = getpid();
	record->time = time(NULL);
}

/* True when every loss so far has been said. */
static bool say_lost(void)
{
	char lines[24];
	struct log_field field = {"lines", lines};
	struct log_text text = {};
	struct log_record record = {.priority = LOG_WARNING, .word = "lost", .fields = &field,
				    .field_count = 1, .text = &text};

	if (state.lost_unsaid == 0)
		return true;
	snprintf(lines, sizeof(lines), "%llu", (unsigned long long)state.lost_unsaid);
	log_text_append_fields(&text, record.word, &field, 1);
	fill_record(&record);
	if (!put_record(&record))
		return false;
	state.lost_unsaid = 0;
	return true;
}

static void write_record(struct log_record *record)
{
	char bytes[LOG_DATAGRAM_MAX];

	fill_record(record);
	if (!state.is_open) {
		/* start-up: nothing to stall yet, and every error of a file should be seen */
		(void)!io_write_all(STDERR_FILENO, bytes, encode(record, bytes));
		return;
	}
	if (state.is_starting && record->priority <= LOG_ERR &&
	    state.sink.target == LOG_TARGET_SYSLOG && !log_sink_stderr_is_journal())
		(void)!io_write_all(STDERR_FILENO, bytes, log_encode_stderr(record, false, bytes));
	drain_queue();
	if (!say_lost() || !put_record(record))
		count_lost(1);
}

void log_set_starting(bool is_starting)
{
	state.is_starting = is_starting;
}

int log_open_at(enum log_target target, int facility, const char *path)
{
	struct log_sink sink;
	int r;

	if (!state.is_open || target != state.sink.target) {
		r = log_sink_open(target, path, &sink);
		if (r < 0)
			return r;
		log_close();
		state.sink = sink;
		state.is_open = true;
	}
	state.facility = facility;
	return 0;
}

int log_open(enum log_target target, int facility)
{
	bool is_auto = target == LOG_TARGET_AUTO;
	const char *path = LOG_SINK_SYSLOG_PATH;
	int r;

	/* a reload while syslogd restarts must not move the log to standard error */
	if (is_auto)
		target = state.is_chosen ? state.sink.target : log_sink_choose();
	if (target == LOG_TARGET_JOURNAL)
		path = LOG_SINK_JOURNAL_PATH;
	r = log_open_at(target, facility, path);
	if (r == 0)
		state.is_chosen = is_auto;
	else if (!state.is_open)	/* what is not open would wait for its reader */
		log_open_at(LOG_TARGET_STDERR, facility, NULL);
	return r;
}

bool log_flush(void)
{
	return !state.is_open || (drain_queue() && say_lost());
}

void log_close(void)
{
	uint64_t deadline_ns = clock_now_ns() + CLOSE_WAIT_MS * (CLOCK_NS_PER_S / 1000ull);

	if (!state.is_open)
		return;
	while (!log_flush() && state.sink.fd >= 0 && clock_now_ns() < deadline_ns)
		log_sink_wait(&state.sink, CLOSE_WAIT_MS / 10);
	count_lost(state.queue.count);
	state.queue.head = state.queue.tail = state.queue.count = 0;
	log_sink_close(&state.sink);
	state.is_open = false;
	state.is_chosen = false;
}

void log_set_level(int level)
{
	state.level = level;
}

int log_level(void)
{
	return state.level;
}

uint64_t log_lost(void)
{
	return state.lost;
}

void log_resume(uint64_t lost)
{
	state.lost += lost;
}

/* Formats, escapes and writes; error 0: the text alone. */
static void write_text(int priority, int error, const char *format, va_list arguments)
	__attribute__((format(printf, 3, 0)));

static void write_text(int priority, int error, const char *format, va_list arguments)
{
	char message[LOG_TEXT_MAX + 2];
	struct log_text text = {};
	struct log_record record = {.priority = priority, .error = error, .text = &text};

	vsnprintf(message, sizeof(message), format, arguments);
	log_text_append(&text, message);
	if (error != 0) {
		log_text_append(&text, ": ");
		log_text_append(&text, strerror(error));
	}
	write_record(&record);
}

void log_line(int priority, const char *format, ...)
{
	va_list arguments;

	if (priority > state.level)
		return;
	va_start(arguments, format);
	write_text(priority, 0, format, arguments);
	va_end(arguments);
}

void log_errno(int priority, int error, const char *format, ...)
{
	va_list arguments;

	if (priority > state.level)
		return;
	va_start(arguments, format);
	write_text(priority, abs(error), format, arguments);
	va_end(arguments);
}

void log_fields(int priority, const char *word, const struct log_field *fields, size_t count)
{
	struct log_text text = {};
	struct log_record record = {.priority = priority, .word = word, .fields = fields,
				    .field_count = count, .text = &text};

	if (priority > state.level)
		return;
	log_text_append_fields(&text, word, fields, count);
	write_record(&record);
}

void log_report(void *context, const char *text)
{
	(void)context;
	log_line(LOG_ERR, "%s", text);
}
