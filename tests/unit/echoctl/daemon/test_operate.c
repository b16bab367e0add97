/* SPDX-License-Identifier: MIT */
/* What status and list make of the daemon's replies. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "echoctl/daemon/client.h"
#include "echoctl/daemon/connection_row.h"
#include "echoctl/daemon/status_screen.h"
#include "echoctl/output/units.h"

static void test_reply(void **state)
{
	json_t *reply;

	(void)state;
	assert_int_equal(control_parse("[1]", &reply), -EBADMSG);
	assert_int_equal(control_parse("{\"event\":1}", &reply), -EBADMSG);
	assert_int_equal(control_parse("{\"event\":\"a\"", &reply), -EBADMSG);
	assert_int_equal(control_parse("{\"event\":\"a\\u001b[2J\",\"b\":7}",
				       &reply), 0);
	assert_string_equal(control_text(reply, "event"), "a\x1b[2J");
	assert_string_equal(control_text(reply, "b"), "");
	assert_string_equal(control_text(reply, "c"), "");
	json_decref(reply);
}

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
	assert_int_equal(history.accepted[0], 10);
	assert_int_equal(history.bytes_in[0], 1500);
	/* bytes of a connection that has ended go over into the totals */
	add_state(&history, 13 * second, 120, 8000, 0);
	assert_int_equal(history.accepted[1], 0);
	assert_int_equal(history.bytes_in[1], 0);
	for (uint64_t i = 1; i <= STATUS_HISTORY_MAX; i++)
		add_state(&history, (13 + i) * second, 120 + i, 8000, 0);
	assert_int_equal(history.count, STATUS_HISTORY_MAX);
	assert_int_equal(history.accepted[0], 1);
	/* the daemon was started again */
	add_state(&history, second, 7, 0, 0);
	assert_int_equal(history.count, 0);
	add_state(&history, 2 * second, 9, 0, 0);
	assert_int_equal(history.accepted[0], 2);
}

static json_t *row_of(const char *peer, int64_t idle_ns)
{
	return json_pack("{s:s, s:s, s:I, s:I}", "id", "1.1", "peer", peer, "idle_ns",
			 (json_int_t)idle_ns, "age_ns", 2 * (json_int_t)idle_ns);
}

static bool passes_filter(const char *peer, int64_t idle_ns, const struct row_filter *filter)
{
	json_t *row = row_of(peer, idle_ns);
	bool result = row_passes(row, filter);

	json_decref(row);
	return result;
}

static bool passes(const char *peer, const char *source)
{
	struct row_filter filter = { .has_source = true };

	assert_int_equal(cidr_parse(source, &filter.source, NULL), 0);
	return passes_filter(peer, 0, &filter);
}

static void test_filter(void **state)
{
	const struct row_filter idle = { .idle_over_us = 1000000 };
	const struct row_filter age = { .age_over_us = 2000000 };

	(void)state;
	assert_true(passes("192.0.2.7:51812", "192.0.2.0/24"));
	assert_false(passes("192.0.3.7:51812", "192.0.2.0/24"));
	assert_true(passes("[2001:db8::1]:7", "2001:db8::/32"));
	assert_true(passes("[fe80::1%2]:7", "fe80::1"));
	assert_false(passes("[2001:db8::1]:7", "192.0.2.0/24"));
	assert_false(passes("unix:pid=1,uid=0", "::/0"));
	assert_false(passes("unknown", "::/0"));
	assert_true(passes_filter("192.0.2.7:1", 1000000000, &idle));
	assert_false(passes_filter("192.0.2.7:1", 999999999, &idle));
	assert_true(passes_filter("192.0.2.7:1", 1000000000, &age));
	assert_false(passes_filter("192.0.2.7:1", 999999999, &age));
}

static int order(const json_t *a, const json_t *b, const char *column)
{
	return row_compare(a, b, row_column_find(column));
}

static void test_order(void **state)
{
	json_t *a = json_pack("{s:s, s:s, s:i}", "id", "2.10", "peer", "192.0.2.10:1",
			      "bytes_in", 5);
	json_t *b = json_pack("{s:s, s:s, s:i}", "id", "2.9", "peer", "192.0.2.9:1",
			      "bytes_in", 7);

	(void)state;
	assert_true(order(a, b, "id") > 0);
	assert_true(order(a, b, "peer") > 0);
	assert_true(order(a, b, "in") > 0);
	assert_true(order(b, a, "in") < 0);
	assert_true(order(a, b, "out") > 0);
	assert_true(order(a, a, "local") == 0);
	assert_null(row_column_find("colour"));
	json_decref(a);
	json_decref(b);
}

static void test_cells(void **state)
{
	json_t *row = json_loads("{\"age_ns\":184000000000,\"idle_ns\":950000000,\"bytes_in\":8,"
				 "\"bytes_out\":1572864,\"bytes_in_per_s\":1000,"
				 "\"bytes_out_per_s\":48,\"worker\":7,\"half_closed\":true}", 0, NULL);
	static const struct {
		const char *column;
		const char *text;
	} cells[] = {
		{ "id", "" }, { "age", "3m4s" }, { "idle", "950ms" }, { "in", "8B" },
		{ "out", "1.5M" }, { "rate", "1.0K/s" }, { "worker", "7" },
		{ "state", "half-closed" },
	};
	char text[ROW_CELL_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cells) / sizeof(*cells); i++)
		assert_string_equal(row_cell(row, row_column_find(cells[i].column), text),
				    cells[i].text);
	json_decref(row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reply),
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_bar),
		cmocka_unit_test(test_curve),
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_cells),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
