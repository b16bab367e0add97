/* SPDX-License-Identifier: MIT */
/*
 * From a call to a line. A line that its sink cannot take now waits in a bounded queue; one
 * that finds no room there is counted, and the count is logged when there is room again.
 */
#include "echod/log/log.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "echod/log/sink.h"

#define CLOSE_WAIT_MS 500	/* what the last lines of a stopping daemon may cost */

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
	bool is_chosen;		/* the target is what "auto" came to */
	bool is_starting;
	struct log_sink sink;
	struct queue queue;
	uint64_t lost;
	uint64_t lost_unsaid;
	void (*watch)(void *context, const char *text);
	void *watch_context;
} state = {.level = LOG_INFO, .facility = LOG_DAEMON, .sink = LOG_SINK_STDERR};

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

/* Returns true if every loss so far has been said. */
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

/* A second sink for a moment; whatever it does not take now is in the log anyway. */
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

static void tell_watcher(const char *message, int error)
{
	char text[LOG_TEXT_MAX + 128];

	snprintf(text, sizeof(text), "%s%s%s", message, error != 0 ? ": " : "",
		 error != 0 ? strerror(error) : "");
	state.watch(state.watch_context, text);
}

int log_errno(int priority, int error, const char *format, ...)
{
	bool is_watched = state.watch && priority <= LOG_WARNING;
	char message[LOG_TEXT_MAX + 2];
	struct log_record record;
	va_list arguments;

	if (priority > state.level && !is_watched)
		return -abs(error);
	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	if (is_watched)
		tell_watcher(message, abs(error));
	log_record_begin(&record, priority, NULL);
	log_record_text(&record, message);
	if (error != 0)
		log_record_error(&record, abs(error));
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

int log_open_at(enum log_target target, int facility, const char *path)
{
	struct log_sink sink;
	int r;

	assert(target != LOG_TARGET_AUTO);
	if (target != state.sink.target) {
		r = log_sink_open(target, path, &sink);
		if (r < 0)
			return r;
		log_close();
		state.sink = sink;
	}
	state.facility = facility;
	return 0;
}

static const char *path_of(enum log_target target)
{
	return target == LOG_TARGET_JOURNAL ? LOG_SINK_JOURNAL_PATH : LOG_SINK_SYSLOG_PATH;
}

int log_open(enum log_target target, int facility)
{
	bool is_auto = target == LOG_TARGET_AUTO;
	int r;

	/* a reload while syslogd restarts must not move the log to standard error */
	if (is_auto)
		target = state.is_chosen ? state.sink.target : log_sink_choose();
	r = log_open_at(target, facility, path_of(target));
	if (r == 0)
		state.is_chosen = is_auto;
	return r;
}

bool log_flush(void)
{
	return drain_queue() && say_lost();
}

void log_close(void)
{
	uint64_t deadline_ns = clock_now_ns() + CLOSE_WAIT_MS * (CLOCK_NS_PER_S / 1000ull);

	while (!log_flush() && state.sink.fd >= 0 && clock_now_ns() < deadline_ns)
		log_sink_wait(&state.sink, CLOSE_WAIT_MS / 10);
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
	/* A log daemon that is away now is connected by the first line that it can take. */
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
