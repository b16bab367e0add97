/* SPDX-License-Identifier: MIT */
/* Tests of which silences echoctl idle tries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "echoctl/idle/grid.h"

#define MS UINT64_C(1000000)

static uint64_t silences[IDLE_PROBES_MAX];

static void test_doubling(void **state)
{
	const struct idle_settings settings = {
		.min_us = 1000000, .max_us = 10000000, .parallel = 2,
	};
	static const uint64_t wanted_ms[] = { 1000, 1500, 2000, 3000, 4000, 6000, 8000, 10000 };

	(void)state;
	assert_int_equal(idle_grid(&settings, silences), 8);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(silences[i], wanted_ms[i] * MS);
}

static void test_one_silence(void **state)
{
	const struct idle_settings settings = {
		.min_us = 5000000, .max_us = 5000000, .parallel = 8,
	};

	(void)state;
	assert_int_equal(idle_grid(&settings, silences), 1);
	assert_int_equal(silences[0], 5000 * MS);
}

static void test_widest(void **state)
{
	const struct idle_settings settings = {
		.min_us = 10000, .max_us = UINT64_C(7) * 86400 * 1000000, .parallel = 16,
	};
	size_t n = idle_grid(&settings, silences);

	(void)state;
	assert_true(n >= 300 && n <= IDLE_PROBES_MAX);
	for (size_t i = 1; i < n; i++)
		assert_true(silences[i] > silences[i - 1]);
	assert_int_equal(silences[n - 1], settings.max_us * 1000);
}

static void test_bisect(void **state)
{
	const struct idle_settings settings = { .parallel = 3 };

	(void)state;
	assert_int_equal(idle_bisect(&settings, 100 * MS, 500 * MS, silences), 3);
	assert_int_equal(silences[0], 200 * MS);
	assert_int_equal(silences[1], 300 * MS);
	assert_int_equal(silences[2], 400 * MS);
}

static void test_narrow(void **state)
{
	const struct idle_settings settings = { .precision_percent = 10 };

	(void)state;
	assert_true(idle_narrow(&settings, 90 * MS, 100 * MS));
	assert_false(idle_narrow(&settings, 89 * MS, 100 * MS));
	assert_true(idle_narrow(&settings, 0, 10 * MS));
	assert_false(idle_narrow(&settings, 0, 1000 * MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_doubling),
		cmocka_unit_test(test_one_silence),
		cmocka_unit_test(test_widest),
		cmocka_unit_test(test_bisect),
		cmocka_unit_test(test_narrow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
