/* SPDX-License-Identifier: MIT */
/*
 * From a call to a line. Text is escaped here, once, for every sink, when it comes into a record. A
 * line that its sink cannot take now waits in a bounded queue. A line that finds no room there is
 * counted, and the count is logged when there is room again.
 */
#include "echod/log/log.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "echod/log/sink.h"

#define IDENTIFIER "echod"
#define VALUE_MAX 1024
#define CLOSE_WAIT_MS 500	/* how long a stopping daemon waits for its last lines */

/* Bridges a burst: a datagram socket may hold as few as ten lines (net.unix.max_dgram_qlen). */
#define QUEUE_BYTES (256 * 1024)

/* Lines in the form of the sink, NUL-terminated, the oldest first. */
struct queue {
	size_t head;		/* first byte in use */
	size_t tail;		/* first free byte */
	char bytes[QUEUE_BYTES];
};

static struct {
	int level;
	int facility;
	bool is_chosen;		/* "auto" chose the target */
	bool is_starting;
	struct log_sink sink;
	struct queue queue;
	uint64_t lost;
	uint64_t lost_unsaid;
	void (*watch)(void *context, const char *text);
	void *watch_context;
} state = { .level = LOG_INFO, .facility = LOG_DAEMON, .sink = LOG_SINK_STDERR };

static const char cut_mark[] = "...";

/* These never change: journalctl MESSAGE_ID=... finds the lines of one kind. */
static const struct {
	const char *word;
	const char *id;
} message_ids[] = {
	{"opened", "1bb8651b1c3c46068b14e1b9005131f5"},
	{"closed", "81c8e1d48ff948ac97c07b5493a15e5c"},
	{"refused", "f67bc01a4c7145c5a4a934b6973c2a3c"},
	{"datagrams", "95ceb4c951e04ab4a8c7a77437459246"},
	{"dropped", "38658ad69615425a86c0b84dca60e739"},
	{"suppressed", "76c58803545f4e7eb0c0922d3f61e2ae"},
	{"starved", "6143638447f74367b5ff04de3c467ccf"},
	{"limit", "98b5ac68a29647588a24300aebc0da7a"},
	{"lost", "31cc9e962c7b4d6daa590451b3059ad8"},
	{"totals", "0b9d4a5833b849668cbc74002d2f9058"},
};

/* Length of the UTF-8 sequence at the start of size bytes, 0 if there is none. */
static size_t utf8_length(const unsigned char *bytes, size_t size)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char lead = bytes[0];
	size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	uint32_t code = lead & (0xffu >> length);

	if (length == 1)
		return 1;
	for (size_t i = 1; i < length; i++) {
		if (i == size || (bytes[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (bytes[i] & 0x3fu);
	}
	if (lead < 0xc0 || lead > 0xf4 || code < least[length] || code > 0x10ffff)
		return 0;
	return code >= 0xd800 && code <= 0xdfff ? 0 : length;
}

static bool is_control(const unsigned char *bytes)
{
	return bytes[0] < 0x20 || bytes[0] == 0x7f || (bytes[0] == 0xc2 && bytes[1] < 0xa0);
}

/* Not the whole of it, which is large. */
static void clear(struct log_text *text)
{
	text->size = 0;
	text->is_full = false;
	text->bytes[0] = '\0';
}

/* Appends size bytes as they are: all of them, or none and the mark "...". */
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

static void put_escaped(struct log_text *text, const void *value, size_t size, bool is_quoted)
{
	const unsigned char *at = value, *end = at + size;
	char escape[sizeof("\\xff")];
	size_t length;

	while (at < end) {
		length = utf8_length(at, (size_t)(end - at));
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

void log_escape(const void *bytes, size_t size, struct log_text *ret_text)
{
	clear(ret_text);
	put_escaped(ret_text, bytes, size, false);
}

/* Appends all of "NAME=value\n" or nothing; name ends with its "=". */
static void put_field(struct log_text *fields, const char *name, const void *value, size_t size)
{
	size_t size_before = fields->size;

	put(fields, name);
	put_escaped(fields, value, size, false);
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
	clear(&record->text);
	clear(&record->fields);
	if (!word)
		return;
	put(&record->text, word);
	put_field(&record->fields, "ECHOD_EVENT=", word, strlen(word));
	for (size_t i = 0; i < sizeof(message_ids) / sizeof(message_ids[0]); i++)
		if (strcmp(message_ids[i].word, word) == 0)
			put_field(&record->fields, "MESSAGE_ID=", message_ids[i].id,
				  strlen(message_ids[i].id));
}

void log_record_text(struct log_record *record, const char *text)
{
	put_escaped(&record->text, text, strlen(text), false);
}

void log_record_number(struct log_record *record, int error)
{
	char number[16];

	assert(error > 0);
	snprintf(number, sizeof(number), "%d", error);
	put_field(&record->fields, "ERRNO=", number, strlen(number));
}

void log_record_add_bytes(struct log_record *record, const char *name, const void *value,
			  size_t size)
{
	const bool is_quoted = size == 0 || memchr(value, ' ', size) || memchr(value, '"', size);
	const char *quote = is_quoted ? "\"" : "";
	char journal_name[64];

	assert(*name);
	put(&record->text, " ");
	put(&record->text, name);
	put(&record->text, "=");
	put(&record->text, quote);
	put_escaped(&record->text, value, size, is_quoted);
	put(&record->text, quote);

	snprintf(journal_name, sizeof(journal_name), "ECHOD_%s=", name);
	for (char *at = journal_name; *at != '\0'; at++)
		*at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
	put_field(&record->fields, journal_name, value, size);
}

void log_record_add(struct log_record *record, const char *name, const char *format, ...)
{
	char value[VALUE_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(value, sizeof(value), format, arguments);
	va_end(arguments);
	log_record_add_bytes(record, name, value, strlen(value));
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

/* LOG_FORM_MAX has room for both texts and for their heads. */
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

static bool queue_is_empty(const struct queue *queue)
{
	return queue->head == queue->tail;
}

/* Returns false, and changes nothing, if there is no room. */
static bool queue_put(struct queue *queue, const char *line)
{
	size_t used = queue->tail - queue->head;
	size_t size = strlen(line) + 1;

	if (used + size > QUEUE_BYTES)
		return false;
	if (queue->tail + size > QUEUE_BYTES) {
		memmove(queue->bytes, queue->bytes + queue->head, used);
		queue->head = 0;
		queue->tail = used;
	}
	memcpy(queue->bytes + queue->tail, line, size);
	queue->tail += size;
	return true;
}

/* The oldest line of a queue that is not empty. */
static const char *queue_first(const struct queue *queue)
{
	return queue->bytes + queue->head;
}

static void queue_drop(struct queue *queue)
{
	queue->head += strlen(queue_first(queue)) + 1;
}

static void count_lost(void)
{
	state.lost++;
	state.lost_unsaid++;
}

/* Writes what waits, as far as the sink takes it. Returns true if nothing is left. */
static bool drain_queue(void)
{
	int r;

	while (!queue_is_empty(&state.queue)) {
		r = log_sink_write(&state.sink, queue_first(&state.queue));
		if (r == -EAGAIN)
			return false;
		if (r < 0)
			count_lost();
		queue_drop(&state.queue);
	}
	return true;
}

static void encode(const struct log_record *record, char line[LOG_FORM_MAX])
{
	if (state.sink.target == LOG_TARGET_JOURNAL)
		log_record_to_journal(record, line);
	else if (state.sink.target == LOG_TARGET_SYSLOG)
		log_record_to_syslog(record, line);
	else
		log_record_to_stderr(record, log_sink_stderr_is_journal(), line);
}

/* Hands the record to the sink or to the queue before it. Returns false if neither takes it. */
static bool put_record(struct log_record *record)
{
	char line[LOG_FORM_MAX];
	int r = -EAGAIN;

	record->facility = state.facility;
	record->pid = getpid();
	record->time = time(NULL);
	encode(record, line);
	if (queue_is_empty(&state.queue))
		r = log_sink_write(&state.sink, line);
	return r == 0 || (r == -EAGAIN && queue_put(&state.queue, line));
}

/* Logs how many lines were lost. Returns true if there is nothing more to report. */
static bool say_lost(void)
{
	struct log_record record;

	if (state.lost_unsaid == 0)
		return true;
	log_record_begin(&record, LOG_WARNING, "lost");
	log_record_add(&record, "lines", "%llu", (unsigned long long)state.lost_unsaid);
	if (!put_record(&record))
		return false;
	state.lost_unsaid = 0;
	return true;
}

/* Writes the line to standard error once; if it does not take the line, the log has it anyway. */
static void copy_to_stderr(const struct log_record *record)
{
	struct log_sink sink = LOG_SINK_STDERR;
	char line[LOG_FORM_MAX];

	log_record_to_stderr(record, false, line);
	log_sink_write(&sink, line);
}

void log_record(struct log_record *record)
{
	if (record->priority > state.level)
		return;
	if (state.is_starting && record->priority <= LOG_ERR &&
	    state.sink.target == LOG_TARGET_SYSLOG && !log_sink_stderr_is_journal())
		copy_to_stderr(record);
	drain_queue();
	if (!say_lost() || !put_record(record))
		count_lost();
}

void log_watch(void (*watch)(void *context, const char *text), void *context)
{
	state.watch = watch;
	state.watch_context = context;
}

int log_errno(int priority, int error, const char *format, ...)
{
	bool is_watched = state.watch && priority <= LOG_WARNING;
	char message[LOG_TEXT_MAX + 128];
	struct log_record record;
	va_list arguments;
	size_t size;

	if (priority > state.level && !is_watched)
		return -abs(error);
	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	size = strlen(message);
	if (error != 0)
		snprintf(message + size, sizeof(message) - size, ": %s", strerror(abs(error)));
	if (is_watched)
		state.watch(state.watch_context, message);
	log_record_begin(&record, priority, NULL);
	log_record_text(&record, message);
	if (error != 0)
		log_record_number(&record, abs(error));
	log_record(&record);
	return -abs(error);
}

void log_report(void *context, const char *text)
{
	(void)context;
	log_error("%s", text);
}

void log_set_starting(bool is_starting)
{
	state.is_starting = is_starting;
}

static const char *path_of(enum log_target target)
{
	return target == LOG_TARGET_JOURNAL ? LOG_SINK_JOURNAL_PATH : LOG_SINK_SYSLOG_PATH;
}

int log_open_at(enum log_target target, int facility, const char *path)
{
	bool is_auto = target == LOG_TARGET_AUTO;
	struct log_sink sink;
	int r;

	/* a reload while syslogd restarts must not move the log to standard error */
	if (is_auto)
		target = state.is_chosen ? state.sink.target : log_sink_choose();
	if (target != state.sink.target) {
		r = log_sink_open(target, path ? path : path_of(target), &sink);
		if (r < 0)
			return r;
		log_close();
		state.sink = sink;
	}
	state.facility = facility;
	state.is_chosen = is_auto;
	return 0;
}

int log_open(enum log_target target, int facility)
{
	return log_open_at(target, facility, NULL);
}

bool log_flush(void)
{
	return drain_queue() && say_lost();
}

void log_close(void)
{
	uint64_t deadline_ns = clock_now_ns() + CLOSE_WAIT_MS * (CLOCK_NS_PER_S / 1000ull);
	struct pollfd reader = { .fd = state.sink.fd, .events = POLLOUT };

	while (!log_flush() && state.sink.fd >= 0 && clock_now_ns() < deadline_ns)
		poll(&reader, 1, CLOSE_WAIT_MS / 10);
	for (; !queue_is_empty(&state.queue); queue_drop(&state.queue))
		count_lost();
	log_sink_close(&state.sink);
	state.sink = (struct log_sink)LOG_SINK_STDERR;
	state.is_chosen = false;
}

void log_set_level(int level)
{
	assert(level >= LOG_EMERG && level <= LOG_DEBUG);
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

void log_save(struct log_state *ret_state)
{
	*ret_state = (struct log_state){
		.target = state.sink.target,
		.lost = state.lost,
		.lost_unsaid = state.lost_unsaid,
		.is_torn = state.sink.is_torn || state.sink.sent,
		.lines = queue_first(&state.queue),
		.size = state.queue.tail - state.queue.head,
	};
}

void log_restore(const struct log_state *saved)
{
	state.lost = saved->lost;
	state.lost_unsaid = saved->lost_unsaid;
	/* If the log daemon is away now, the first line that it can take connects. */
	if (saved->target == LOG_TARGET_JOURNAL || saved->target == LOG_TARGET_SYSLOG)
		state.sink = (struct log_sink){
			.target = saved->target, .path = path_of(saved->target), .fd = -1,
		};
	state.sink.is_torn = saved->is_torn;
	state.is_chosen = true;
	for (const char *i = saved->lines; i < saved->lines + saved->size; i += strlen(i) + 1)
		if (!queue_put(&state.queue, i))
			count_lost();
}
