/* SPDX-License-Identifier: MIT */
/* Tests of what plot reads from a file of --series. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "echoctl/plot/curves.h"

#define PING "time,elapsed_s,target,seq,result,rtt_ms\n"
#define LOAD "elapsed_s,target,sent,ok,lost,p50_ms,p90_ms,p99_ms,p99.9_ms,max_ms,retransmits\n"

static struct curves curves;

static int tear_down(void **state)
{
	(void)state;
	curves_free(&curves);
	return 0;
}

/* Returns what is wrong; in which line is checked. */
static const char *read_text(const char *text, size_t wanted_line)
{
	FILE *file = fmemopen((char *)(uintptr_t)text, strlen(text), "r");
	const char *why;
	size_t line;

	assert_non_null(file);
	curves_free(&curves);
	why = curves_read(file, &curves, &line);
	fclose(file);
	if (why)
		assert_int_equal(line, wanted_line);
	return why;
}

static void test_ping(void **state)
{
	(void)state;
	assert_null(read_text(PING
			      "x,0.0,\"a,\"\"b\"\"\",1,ok,1.5\r\n"
			      "x,0.5,c,1,late,2000\n"
			      "x,1.0,\"a,\"\"b\"\"\",2,lost,\n"
			      "x,1.5,c,2,ok,", 0));
	assert_false(curves.of_load);
	assert_int_equal(curves.n, 2);
	assert_string_equal(curves.list[0].name, "a,\"b\"");
	assert_string_equal(curves.list[1].name, "c");
	assert_int_equal(curves.list[0].n, 1);
	assert_true(curves.list[0].points[0].ms == 1.5);
	assert_true(curves.list[1].points[0].s == 0.5);
	assert_int_equal(curves.list[1].n, 1);
	assert_int_equal(curves.list[1].distribution.max_ns, 2000000000);
	assert_int_equal(curves.ok, 3);
	assert_int_equal(curves.failed, 1);
	assert_true(curves.failures.points[0].s == 1);
	assert_true(curves.end_s == 1.5);
}

static void test_load(void **state)
{
	const struct histogram *distribution;

	(void)state;
	assert_null(read_text(LOAD
			      "1,t,1001,1000,1,1,2,3,4,5,0\n"
			      "2,t,0,0,0,,,,,,0\n"
			      "3,t,1,1,0,7,7,7,7,7,0\n", 0));
	assert_true(curves.of_load);
	assert_int_equal(curves.n, 5);
	assert_string_equal(curves.list[3].name, "p99.9");
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(curves.list[i].n, 2);
		assert_true(curves.list[i].points[0].ms == (double)i + 1);
	}
	distribution = &curves.list[0].distribution;
	assert_int_equal(distribution->count, 1001);
	assert_int_equal(distribution->max_ns, 7000000);
	assert_in_range(histogram_percentile(distribution, 49), 1000000, 1010000);
	assert_in_range(histogram_percentile(distribution, 89), 2000000, 2020000);
	assert_in_range(histogram_percentile(distribution, 98), 3000000, 3030000);
	assert_int_equal(curves.failed, 1);
	assert_int_equal(curves.failures.n, 1);
}

static void test_wrong(void **state)
{
	static const struct {
		const char *text;
		size_t line;
	} cases[] = {
		{ "\n", 1 },
		{ PING, 0 },
		{ "elapsed_s,target,result\n1,t,ok\n", 1 },
		{ LOAD "1,t,1,1,0,1,1,1,1,1\n", 2 },
		{ LOAD "1,t,1,,0,1,1,1,1,1,0\n", 2 },
		{ LOAD "1,t,1,1,0,1,1,-1,1,1,0\n", 2 },
		{ PING "x,1,t,1,ok,1\nx,,t,1,ok,1\n", 3 },
		{ PING "x,nan,t,1,ok,1\n", 2 },
		{ PING "x,1,t,1,ok,inf\n", 2 },
		{ PING "x,1,t,1,ok,1e300\n", 2 },
		{ PING "x,1,t,1,ok,1 ms\n", 2 },
		{ PING "x,1,\"t,1,ok,1\n", 2 },
		{ PING "x,1,\"t\"t,1,ok,1\n", 2 },
		{ PING "x,1,t,1,ok,1,\n", 2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_non_null(read_text(cases[i].text, cases[i].line));
}

static void test_many_fields(void **state)
{
	char line[1000];

	(void)state;
	memset(line, ',', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	assert_non_null(read_text(line, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_ping, tear_down),
		cmocka_unit_test_teardown(test_load, tear_down),
		cmocka_unit_test_teardown(test_wrong, tear_down),
		cmocka_unit_test_teardown(test_many_fields, tear_down),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
