/* SPDX-License-Identifier: MIT */
/* What status makes of the daemon's replies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "echoctl/daemon/status_screen.h"
#include "echoctl/output/report.h"

static void test_escape(void **state)
{
	char *one = report_escape("a\nb\x1b[2J\x7f é", false);
	char *lines = report_escape("a\nb\r", true);

	(void)state;
	assert_string_equal(one, "a\\x0ab\\x1b[2J\\x7f é");
	assert_string_equal(lines, "a\nb\\x0d");
	free(one);
	free(lines);
}

static void assert_folded(const char *text, unsigned column, const char *wanted, unsigned after)
{
	char *folded = report_fold(text, 12, &column);

	assert_string_equal(folded, wanted);
	assert_int_equal(column, after);
	free(folded);
}

static void test_fold(void **state)
{
	(void)state;
	assert_folded("", 3, "", 3);
	assert_folded("twelve chars", 0, "twelve chars", 12);
	assert_folded("twelve chars\n", 0, "twelve chars\n", 0);
	assert_folded("after twelve", 1, "after\n  twelve", 8);
	assert_folded("one  two  three  four\nfive", 0, "one  two\n  three\n  four\nfive", 4);
	/* a number and its unit stay together, and so does what has no space */
	assert_folded("latency 12 ms or", 0, "latency\n  12 ms or", 10);
	assert_folded("a longer-than-that one", 0, "a\n  longer-than-that\n  one", 5);
	assert_folded("longer-than-that", 9, "longer-than-that", 25);
	/* a character of several bytes is one column */
	assert_folded("██████ █████", 0, "██████ █████", 12);
	assert_folded(" ", 12, " ", 13);
}

static void test_age(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{ 0, "0 ms" }, { 999999999, "999 ms" }, { 1000000000, "1 s" },
		{ UINT64_C(60000000000), "1 min 0 s" }, { UINT64_C(3599000000000), "59 min 59 s" },
		{ UINT64_C(3600000000000), "1 h 0 min" }, { UINT64_C(90000000000000), "1 d 1 h" },
		{ UINT64_MAX, "213503 d 23 h" },
	};
	char text[UNITS_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_string_equal(units_age(cases[i].ns, text), cases[i].text);
}

static char drawn[256];

static FILE *draw_begin(void)
{
	memset(drawn, 0, sizeof(drawn));
	return fmemopen(drawn, sizeof(drawn), "w");
}

static const char *bar(uint64_t value, uint64_t max)
{
	FILE *stream = draw_begin();

	status_bar(stream, value, max, 4, false);
	fclose(stream);
	return drawn;
}

static void test_bar(void **state)
{
	(void)state;
	assert_string_equal(bar(0, 100), "[    ]");
	assert_string_equal(bar(1, 1000), "[#   ]");
	assert_string_equal(bar(50, 100), "[##  ]");
	assert_string_equal(bar(99, 100), "[### ]");
	assert_string_equal(bar(100, 100), "[####]");
	assert_string_equal(bar(UINT64_MAX, 100), "[####]");
	assert_string_equal(bar(7, 0), "[#   ]");
}

static void test_curve(void **state)
{
	const uint64_t values[] = { 0, 1, 500, 1000, UINT64_C(1) << 60 };
	FILE *stream = draw_begin();

	(void)state;
	status_curve(stream, values, 4, true);
	status_curve(stream, values, 0, true);
	fclose(stream);
	assert_string_equal(drawn, "▁▂▅█");
	stream = draw_begin();
	status_curve(stream, values, 5, false);
	fclose(stream);
	assert_string_equal(drawn, "_...#");
}

static void add_state(struct status_history *history, uint64_t uptime_ns, uint64_t accepted,
		      uint64_t bytes_in, uint64_t live_bytes_in)
{
	json_t *status = json_pack("{s:I, s:{s:I, s:I, s:I}}", "uptime_ns", (json_int_t)uptime_ns,
				   "connections", "accepted", (json_int_t)accepted,
				   "bytes_in", (json_int_t)bytes_in,
				   "live_bytes_in", (json_int_t)live_bytes_in);

	assert_non_null(status);
	status_history_add(history, status);
	json_decref(status);
}

static void test_history(void **state)
{
	const uint64_t second = 1000000000;
	struct status_history history = {0};

	(void)state;
	add_state(&history, 10 * second, 100, 5000, 0);
	assert_int_equal(history.count, 0);
	add_state(&history, 12 * second, 120, 5000, 3000);
	assert_int_equal(history.count, 1);
	assert_int_equal(history.accepted.rates[0], 10);
	assert_int_equal(history.bytes_in.rates[0], 1500);
	/* bytes of a connection that has ended go over into the totals */
	add_state(&history, 13 * second, 120, 8000, 0);
	assert_int_equal(history.accepted.rates[1], 0);
	assert_int_equal(history.bytes_in.rates[1], 0);
	for (uint64_t i = 1; i <= STATUS_HISTORY_MAX; i++)
		add_state(&history, (13 + i) * second, 120 + i, 8000, 0);
	assert_int_equal(history.count, STATUS_HISTORY_MAX);
	assert_int_equal(history.accepted.rates[0], 1);
	/* the daemon was started again */
	add_state(&history, second, 7, 0, 0);
	assert_int_equal(history.count, 0);
	add_state(&history, 2 * second, 9, 0, 0);
	assert_int_equal(history.accepted.rates[0], 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_fold),
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_bar),
		cmocka_unit_test(test_curve),
		cmocka_unit_test(test_history),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
