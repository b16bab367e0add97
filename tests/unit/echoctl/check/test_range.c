/* SPDX-License-Identifier: MIT */
/* Tests of the monitoring plugin thresholds. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "echoctl/check/range.h"

static void check(const char *text, const char *quiet, const char *alerts)
{
	static const double values[] = { -1, 0, 9, 10, 15, 20, 21 };
	struct range range;

	assert_int_equal(range_parse(text, &range), 0);
	for (size_t i = 0; quiet[i]; i++) {
		if (quiet[i] == 'q' && range_alerts(&range, values[i]))
			fail_msg("%s alerts at %g", text, values[i]);
		if (alerts[i] == 'A' && !range_alerts(&range, values[i]))
			fail_msg("%s is quiet at %g", text, values[i]);
	}
}

static void test_guideline_examples(void **state)
{
	(void)state;
	/* values -1, 0, 9, 10, 15, 20, 21 */
	check("10", "-qqq---", "A---AAA");
	check("10:", "---qqqq", "AAA----");
	check("~:10", "qqqq---", "----AAA");
	check("10:20", "---qqq-", "AAA---A");
	check("@10:20", "qqq---q", "---AAA-");
	check("@~:10", "----qqq", "AAAA---");
	check(":10", "-qqq---", "A---AAA");
	check("-1:9.5", "qqq----", "---AAAA");
	check("~:", "qqqqqqq", "-------");
	check("1e1:2e1", "---qqq-", "AAA---A");
}

static void test_bad_ranges(void **state)
{
	static const char *const bad[] = {
		"", "@", "x", "10:x", "x:10", "10:20:30", " 10", "10 ", "nan", "inf", "0x10", "~",
		"~10", "@@1:2", "1,5", "--1", "1-", ":x", "1e999",
	};
	struct range range = { .start = 42 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (range_parse(bad[i], &range) != -EINVAL)
			fail_msg("\"%s\" is accepted", bad[i]);
	}
	assert_int_equal(range_parse("20:10", &range), -ERANGE);
	assert_int_equal(range_parse("-5", &range), -ERANGE);
	assert_true(range.start == 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guideline_examples),
		cmocka_unit_test(test_bad_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
