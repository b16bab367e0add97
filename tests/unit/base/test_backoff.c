/* SPDX-License-Identifier: MIT */
/* Restarts: at once, then ever later, forgotten after a good time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/backoff.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_backoff),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
