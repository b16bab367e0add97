/* SPDX-License-Identifier: MIT */
/* The log against real sockets and pipes: whole lines, never a wait, nothing lost in silence. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "echod/log/log.h"
#include "unit/capture.h"

/* Far more than any socket and the queue hold, far less than a blocked writer would take. */
#define FLOOD_LINES 20000
#define DEADLINE_S 30

static int set_up(void **state)
{
	static struct capture capture;

	*state = &capture;
	log_set_level(LOG_INFO);
	capture_start(&capture, LOG_TARGET_SYSLOG);
	return 0;
}

static int tear_down(void **state)
{
	capture_end(*state);
	return 0;
}

static void test_lines(void **state)
{
	struct log_record record;
	char expected[128];
	int priority;

	log_line(LOG_NOTICE, "%s %d", "text", 17);
	assert_string_equal(capture_line(*state, &priority), "text 17");
	assert_int_equal(priority, LOG_NOTICE);
	log_errno(LOG_ERR, -ENOENT, "%s", "file");
	snprintf(expected, sizeof(expected), "file: %s", strerror(ENOENT));
	assert_string_equal(capture_line(*state, &priority), expected);
	assert_int_equal(priority, LOG_ERR);
	log_record_begin(&record, LOG_INFO, "closed");
	log_record_add(&record, "peer", "192.0.2.7:7");
	log_record(&record);
	assert_string_equal(capture_line(*state, NULL), "closed peer=192.0.2.7:7");
	log_report(NULL, "echod.conf:3: user: %s%n");
	assert_string_equal(capture_line(*state, &priority), "echod.conf:3: user: %s%n");
	assert_int_equal(priority, LOG_ERR);
	assert_null(capture_raw(*state));
}

static void test_level(void **state)
{
	struct log_record record;

	log_debug("not seen");
	log_record_begin(&record, LOG_DEBUG, "closed");
	log_record(&record);
	assert_null(capture_raw(*state));
	log_set_level(LOG_DEBUG);
	assert_int_equal(log_level(), LOG_DEBUG);
	log_debug("seen");
	assert_string_equal(capture_line(*state, NULL), "seen");
}

/* A reader that stands still: no call waits, what waited comes in order, what is lost is said. */
static void test_stopped_reader(void **state)
{
	uint64_t lost_before = log_lost();
	uint64_t start_ns = clock_now_ns();
	unsigned long long lost;
	char expected[1100], filler[1000];
	const char *line;
	int next = 0, lost_sum = 0;

	memset(filler, 'x', sizeof(filler));
	for (int i = 0; i < FLOOD_LINES; i++)
		log_info("line %d %.*s", i, i % (int)sizeof(filler), filler);
	assert_true(clock_now_ns() - start_ns < DEADLINE_S * (uint64_t)CLOCK_NS_PER_S);
	assert_true(log_lost() > lost_before);
	assert_false(log_flush());
	while ((line = capture_line(*state, NULL))) {
		if (sscanf(line, "lost lines=%llu", &lost) == 1) {
			lost_sum += (int)lost;
			next += (int)lost;
			continue;
		}
		snprintf(expected, sizeof(expected), "line %d %.*s", next,
			 next % (int)sizeof(filler), filler);
		assert_string_equal(line, expected);
		next++;
	}
	assert_int_equal(lost_sum, log_lost() - lost_before);
	assert_int_equal(next, FLOOD_LINES);
	assert_true(log_flush());
	log_info("after");
	assert_string_equal(capture_line(*state, NULL), "after");
	assert_null(capture_raw(*state));
}

static void test_restarted_reader(void **state)
{
	log_info("before");
	assert_string_equal(capture_line(*state, NULL), "before");
	capture_stop_reader(*state);
	log_info("while away");
	log_info("still away");
	capture_start_reader(*state);
	log_info("back");
	assert_string_equal(capture_line(*state, NULL), "while away");
	assert_string_equal(capture_line(*state, NULL), "still away");
	assert_string_equal(capture_line(*state, NULL), "back");
	assert_null(capture_raw(*state));
}

static void test_open_failure_keeps_target(void **state)
{
	assert_int_equal(log_open_at(LOG_TARGET_JOURNAL, LOG_USER, "/nonexistent/socket"), -ENOENT);
	log_info("still here");
	assert_string_equal(capture_line(*state, NULL), "still here");
}

/* Accepts the log's connection to a syslog daemon that listens on a stream. */
static int accept_log(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listening_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd;

	unlink(path);
	strcpy(address.sun_path, path);
	assert_return_code(bind(listening_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_return_code(listen(listening_fd, 1), 0);
	assert_int_equal(log_open_at(LOG_TARGET_SYSLOG, LOG_DAEMON, path), 0);
	fd = accept4(listening_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(fd >= 0);
	close(listening_fd);
	return fd;
}

/* A stream that takes half a line gets the rest of it later; each line ends with a NUL. */
static void test_stream(void **state)
{
	static char text[16 * 1024 * 1024];
	struct capture *capture = *state;
	uint64_t lost_before = log_lost();
	char filler[1000];
	size_t size = 0, lines = 0, lost, lost_sum = 0;
	bool is_flushed;
	ssize_t n;
	int fd;

	log_close();
	fd = accept_log(capture->path);
	memset(filler, 'x', sizeof(filler));
	for (int i = 0; i < FLOOD_LINES; i++)
		log_info("%.*s", (int)sizeof(filler), filler);
	do {
		is_flushed = log_flush();
		n = read(fd, text + size, sizeof(text) - 1 - size);
		size += n > 0 ? (size_t)n : 0;
	} while (n > 0 || !is_flushed);
	for (const char *line = text; line < text + size; line += strlen(line) + 1) {
		const char *message = strstr(line, "]: ");

		assert_non_null(message);
		if (sscanf(message, "]: lost lines=%zu", &lost) == 1) {
			lost_sum += lost;
			continue;
		}
		assert_int_equal(strlen(message), strlen("]: ") + sizeof(filler));
		lines++;
	}
	assert_true(lost_sum > 0);
	assert_int_equal(lost_sum, log_lost() - lost_before);
	assert_int_equal(lines + lost_sum, FLOOD_LINES);
	close(fd);
}

/* Standard error as a pipe that the test holds. */
static int redirect_stderr(int pipe_fds[2])
{
	int saved_fd = dup(STDERR_FILENO);

	assert_return_code(pipe2(pipe_fds, O_CLOEXEC), 0);
	dup2(pipe_fds[1], STDERR_FILENO);
	close(pipe_fds[1]);
	return saved_fd;
}

static void restore_stderr(int saved_fd)
{
	log_close();
	dup2(saved_fd, STDERR_FILENO);
	close(saved_fd);
}

/* A full pipe: no call waits, and every line that is in the pipe is whole. */
static void test_full_pipe(void **state)
{
	static char text[8 * 1024 * 1024];
	char filler[1000];
	size_t size = 0;
	int pipe_fds[2], saved_fd;
	ssize_t r;

	(void)state;
	memset(filler, 'x', sizeof(filler) - 1);
	filler[sizeof(filler) - 1] = '\0';
	saved_fd = redirect_stderr(pipe_fds);
	assert_int_equal(log_open(LOG_TARGET_STDERR, LOG_DAEMON), 0);
	for (int i = 0; i < 1000; i++)
		log_info("%s", filler);
	fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
	while (size < sizeof(text)) {
		r = read(pipe_fds[0], text + size, sizeof(text) - size);
		if (r <= 0 && log_flush())
			break;
		size += r > 0 ? (size_t)r : 0;
	}
	restore_stderr(saved_fd);
	close(pipe_fds[0]);
	text[size] = '\0';
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		if (strncmp(line, "echod: lost lines=", 18) == 0)
			continue;
		assert_int_equal(strlen(line), strlen("echod: ") + strlen(filler));
	}
}

/* A pipe without a reader is an ordinary loss, not SIGPIPE. */
static void test_closed_pipe(void **state)
{
	uint64_t lost_before = log_lost();
	int pipe_fds[2], saved_fd;

	(void)state;
	saved_fd = redirect_stderr(pipe_fds);
	assert_int_equal(log_open(LOG_TARGET_STDERR, LOG_DAEMON), 0);
	close(pipe_fds[0]);
	log_info("nobody reads this");
	restore_stderr(saved_fd);
	assert_int_equal(log_lost() - lost_before, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lines, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_level, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stopped_reader, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_restarted_reader, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_open_failure_keeps_target, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stream, set_up, tear_down),
		cmocka_unit_test(test_full_pipe),
		cmocka_unit_test(test_closed_pipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
