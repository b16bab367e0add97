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

static void test_reply(void **state)
{
	json_t *reply;

	(void)state;
	assert_int_equal(control_parse("[1]", &reply), -EBADMSG);
	assert_int_equal(control_parse("{\"event\":1}", &reply), -EBADMSG);
	assert_int_equal(control_parse("{\"event\":\"a\"", &reply), -EBADMSG);
	assert_int_equal(control_parse("{\"event\":\"a\\u001b[2J\",\"b\":7,"
				       "\"e\":[1,\"x\\ny\"]}", &reply), 0);
	assert_string_equal(control_text(reply, "event"), "a?[2J");
	assert_string_equal(control_text(reply, "b"), "");
	assert_string_equal(control_text(reply, "c"), "");
	assert_string_equal(json_string_value(json_array_get(json_object_get(reply, "e"), 1)),
			    "x?y");
	json_decref(reply);
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
	char text[STATUS_AGE_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_string_equal(status_age(cases[i].ns, text), cases[i].text);
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

static struct connection_row row_of(const char *peer, int64_t idle_ns)
{
	struct connection_row row = { .id = "1.1", .idle_ns = idle_ns, .age_ns = 2 * idle_ns };

	strcpy(row.peer, peer);
	return row;
}

static bool passes(const char *peer, const char *source)
{
	struct row_filter filter = { .has_source = true };
	struct connection_row row = row_of(peer, 0);

	assert_int_equal(cidr_parse(source, &filter.source, NULL), 0);
	return row_passes(&row, &filter);
}

static void test_filter(void **state)
{
	struct row_filter filter = { .idle_over_us = 1000000 };
	struct connection_row row = row_of("192.0.2.7:1", 1000000000);

	(void)state;
	assert_true(passes("192.0.2.7:51812", "192.0.2.0/24"));
	assert_false(passes("192.0.3.7:51812", "192.0.2.0/24"));
	assert_true(passes("[2001:db8::1]:7", "2001:db8::/32"));
	assert_true(passes("[fe80::1%2]:7", "fe80::1"));
	assert_false(passes("[2001:db8::1]:7", "192.0.2.0/24"));
	assert_false(passes("unix:pid=1,uid=0", "::/0"));
	assert_false(passes("unknown", "::/0"));
	assert_true(row_passes(&row, &filter));
	row.idle_ns--;
	assert_false(row_passes(&row, &filter));
	filter = (struct row_filter){ .age_over_us = 2000000 };
	assert_true(row_passes(&row, &filter));
	row.age_ns--;
	assert_false(row_passes(&row, &filter));
}

static void test_order(void **state)
{
	struct connection_row a = { .id = "2.10", .peer = "192.0.2.10:1", .bytes_in = 5 };
	struct connection_row b = { .id = "2.9", .peer = "192.0.2.9:1", .bytes_in = 7 };

	(void)state;
	assert_true(row_compare_by("id")(&a, &b) > 0);
	assert_true(row_compare_by("peer")(&a, &b) > 0);
	assert_true(row_compare_by("in")(&a, &b) > 0);
	assert_true(row_compare_by("in")(&b, &a) < 0);
	assert_true(row_compare_by("out")(&a, &b) > 0);
	assert_true(row_compare_by("local")(&a, &a) == 0);
	assert_null(row_compare_by("colour"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reply),
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_bar),
		cmocka_unit_test(test_curve),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_order),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
