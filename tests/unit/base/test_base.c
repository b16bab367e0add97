/* SPDX-License-Identifier: MIT */
/* src/base: numbers, durations and sizes as text, token bucket and back-off, descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/number.h"
#include "base/pace.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_number(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t value;
	} cases[] = {
		{ "0", 0, 0 },		  { "100", 0, 100 },	   { "007", 0, 7 },
		{ "101", -ERANGE, 0 },	  { "", -EINVAL, 0 },	   { "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },	  { " 1", -EINVAL, 0 },	   { "1 ", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },	  { "1e2", -EINVAL, 0 },   { "1.0", -EINVAL, 0 },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "99999999999999999999999999999999", -ERANGE, 0 },
		{ "99999999999999999999999999999999x", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t value = 4711;

		assert_int_equal(number_parse(cases[i].text, 0, 100, &value), cases[i].result);
		assert_int_equal(value, cases[i].result == 0 ? cases[i].value : 4711);
	}
}

static void test_duration_parse(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t us;
	} cases[] = {
		{ "90", 0, 90000000 },
		{ "90s", 0, 90000000 },
		{ "1.5s", 0, 1500000 },
		{ "250ms", 0, 250000 },
		{ "7us", 0, 7 },
		{ "2m", 0, 120000000 },
		{ "10min", 0, 600000000 },
		{ "1h 30min", 0, 5400000000 },
		{ "1hr30m", 0, 5400000000 },
		{ " 2 sec ", 0, 2000000 },
		{ "0.5d", 0, 43200000000 },
		{ "36525d", 0, 3155760000000000 },
		{ "0", 0, 0 },
		{ "0ms", 0, 0 },
		{ "36525d 1us", -ERANGE, 0 },
		{ "99999999999999999999999d", -ERANGE, 0 },
		{ "0.1us", -EDOM, 0 },
		{ "0.0000001", -EDOM, 0 },
		{ "1s 0.1us", -EDOM, 0 },
		{ "0.1us 36526d", -ERANGE, 0 },
		{ "36526d 0.1us", -ERANGE, 0 },
		{ "0.1us 5 parsecs", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ " ", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ "5 parsecs", -EINVAL, 0 },
		{ "1h 30", -EINVAL, 0 },
		{ "30 1h", -EINVAL, 0 },
		{ "1.s", -EINVAL, 0 },
		{ ".5s", -EINVAL, 0 },
		{ "-1s", -EINVAL, 0 },
		{ "1d x", -EINVAL, 0 },
		{ "999999d 5 parsecs", -EINVAL, 0 },
		{ "1S", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t us = 4711;

		assert_int_equal(duration_parse(cases[i].text, &us), cases[i].result);
		assert_int_equal(us, cases[i].result == 0 ? cases[i].us : 4711);
	}
}

static void test_duration_format(void **state)
{
	static const struct {
		uint64_t us;
		const char *text;
	} cases[] = {
		{ 0, "0" },
		{ 1, "1us" },
		{ 250000, "250ms" },
		{ 90000000, "1min 30s" },
		{ 5400000000, "1h 30min" },
		{ 86400000000, "1d" },
		{ 3155759999999999, "36524d 23h 59min 59s 999ms 999us" },
	};
	char text[DURATION_TEXT_MAX];
	uint64_t us;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_string_equal(duration_format(cases[i].us, text), cases[i].text);
		assert_int_equal(duration_parse(text, &us), 0);
		assert_int_equal(us, cases[i].us);
	}
	assert_string_equal(duration_format(UINT64_MAX, text),
			    "213503982d 8h 1min 49s 551ms 615us");
}

static void test_size(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t bytes;
		const char *written;
	} cases[] = {
		{ "0", 0, 0, "0" },
		{ "1000", 0, 1000, "1000" },
		{ "64K", 0, 65536, "64K" },
		{ "64kB", 0, 65536, "64K" },
		{ "64KiB", 0, 65536, "64K" },
		{ "12B", 0, 12, "12" },
		{ "1.5G", 0, 1610612736, "1536M" },
		{ "2048T", 0, 1ull << 51, "2048T" },
		{ "16777216T", -ERANGE, 0, NULL },
		{ "18446744073709551616", -ERANGE, 0, NULL },
		{ "0.1", -EDOM, 0, NULL },
		{ "", -EINVAL, 0, NULL },
		{ "K", -EINVAL, 0, NULL },
		{ "1X", -EINVAL, 0, NULL },
		{ "1 K", -EINVAL, 0, NULL },
		{ "1Ki", -EINVAL, 0, NULL },
		{ "1KK", -EINVAL, 0, NULL },
		{ "-1K", -EINVAL, 0, NULL },
	};
	char text[SIZE_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t bytes = 4711;

		assert_int_equal(size_parse(cases[i].text, &bytes), cases[i].result);
		assert_int_equal(bytes, cases[i].result == 0 ? cases[i].bytes : 4711);
		if (cases[i].result == 0)
			assert_string_equal(size_format(bytes, text), cases[i].written);
	}
}

static void test_bucket(void **state)
{
	struct bucket bucket;
	uint64_t now_ns = 5 * CLOCK_NS_PER_S;

	(void)state;
	bucket_init(&bucket, now_ns, 10, 3);
	for (int i = 0; i < 3; i++)
		assert_true(bucket_take(&bucket, now_ns, 10, 3, 1));
	assert_false(bucket_take(&bucket, now_ns, 10, 3, 1));
	assert_false(bucket_take(&bucket, now_ns + CLOCK_NS_PER_S / 10 - 1, 10, 3, 1));
	assert_true(bucket_take(&bucket, now_ns + CLOCK_NS_PER_S / 10, 10, 3, 1));
	assert_false(bucket_take(&bucket, 0, 10, 3, 1));
	/* However long the pause, the burst is the most that is in store. */
	for (int i = 0; i < 3; i++)
		assert_true(bucket_take(&bucket, UINT64_MAX, 10, 3, 1));
	assert_false(bucket_take(&bucket, UINT64_MAX, 10, 3, 1));

	/* Of several wanted at once those that are there are taken. */
	bucket_init(&bucket, now_ns, 10, 3);
	assert_int_equal(bucket_take(&bucket, now_ns, 10, 3, 2), 2);
	assert_int_equal(bucket_take(&bucket, now_ns, 10, 3, 64), 1);
	assert_int_equal(bucket_take(&bucket, now_ns, 10, 3, 0), 0);
	assert_int_equal(bucket_take(&bucket, now_ns + CLOCK_NS_PER_S, 10, 3, 64), 3);

	/* Over ten seconds no more than the rate and one burst pass, whatever the rhythm. */
	bucket_init(&bucket, now_ns, 7, 2);
	int passed = 0;
	for (int i = 0; i <= 10000; i++)
		passed += bucket_take(&bucket, now_ns + (uint64_t)i * 1000000, 7, 2, 1);
	assert_in_range(passed, 71, 72);

	bucket_init(&bucket, 0, UINT32_MAX, UINT32_MAX);
	assert_true(bucket_take(&bucket, 0, UINT32_MAX, UINT32_MAX, 1));
	bucket_init(&bucket, 0, 1, UINT32_MAX);
	assert_true(bucket_take(&bucket, UINT64_MAX, 1, UINT32_MAX, 1));
}

static void test_backoff(void **state)
{
	const uint32_t expected_ms[] = { 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000 };
	struct backoff backoff = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(expected_ms) / sizeof(*expected_ms); i++)
		assert_int_equal(backoff_next_ms(&backoff, 10), expected_ms[i]);
	assert_int_equal(backoff_next_ms(&backoff, BACKOFF_FORGET_MS), 0);
	assert_int_equal(backoff_next_ms(&backoff, 10), 100);
}

static void test_descriptors(void **state)
{
	FD_CLEANUP int fd = -1;
	char bytes[8];

	(void)state;
	fd = fd_sealed_memory("test", "sealed", 6);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fd_read_full(fd, bytes, sizeof(bytes)), 6);
	assert_memory_equal(bytes, "sealed", 6);
	assert_int_equal(fd_write_all(fd, "x", 1), -EPERM);
	assert_int_equal(ftruncate(fd, 0), -1);

	assert_int_equal(fd_set_cloexec(fd, false), 0);
	assert_int_equal(fcntl(fd, F_GETFD), 0);
	assert_int_equal(fd_set_nonblocking(fd, true), 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(fd_set_nonblocking(-1, true), -EBADF);

	int stolen = fd_steal(&fd);
	assert_int_equal(fd, -1);
	errno = ENOENT;
	assert_int_equal(fd_close(stolen), -1);
	assert_int_equal(fd_close(-1), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(fcntl(stolen, F_GETFD), -1);
	assert_int_equal(fd_read_full(stolen, bytes, 1), -EBADF);
}

static void test_replace(void **state)
{
	char folder[] = "/tmp/echod-test-XXXXXX", path[64], temporary[80], other[64], text[16] = "";
	struct stat status;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/file", folder);
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	assert_int_equal(fd_replace_file(path, "first", 5, 0600), 0);
	assert_int_equal(fd_replace_file(path, "second", 6, 0644), 0);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0644);
	/* what stands in its way is no file to write to, and nothing to wait for */
	snprintf(other, sizeof(other), "%s/other", folder);
	assert_int_equal(symlink(other, temporary), 0);
	assert_int_equal(fd_replace_file(path, "third", 5, 0644), 0);
	assert_int_equal(access(other, F_OK), -1);
	assert_int_equal(mkfifo(temporary, 0644), 0);
	alarm(30);
	assert_int_equal(fd_replace_file(path, "fourth", 6, 0644), 0);
	alarm(0);
	assert_int_equal(lstat(path, &status), 0);
	assert_true(S_ISREG(status.st_mode));
	fd = open(path, O_RDONLY);
	assert_int_equal(fd_read_full(fd, text, sizeof(text)), 6);
	close(fd);
	assert_string_equal(text, "fourth");
	assert_int_equal(access(temporary, F_OK), -1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(fd_replace_file(path, "fifth", 5, 0644), -EISDIR);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_number),
		cmocka_unit_test(test_duration_parse),
		cmocka_unit_test(test_duration_format),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_bucket),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_replace),
	};

	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
