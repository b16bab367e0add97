/* SPDX-License-Identifier: MIT */
/* Restarts: at once, then ever later, forgotten after a good time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "echod/backoff.h"
#include "echod/tally.h"

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

static void test_tally_duration(void **state)
{
	struct tally tally = { 0 };
	struct event event = { .start_ns = 1000000, .end_ns = 1000000 + 999999 };

	(void)state;
	tally_add_duration(&tally, &event);		/* 0.999 ms */
	event.end_ns = 1000000 + 3000000;
	tally_add_duration(&tally, &event);		/* 3 ms */
	event.end_ns = 0;
	tally_add_duration(&tally, &event);		/* nonsense */
	event.end_ns = UINT64_MAX;
	tally_add_duration(&tally, &event);
	assert_int_equal(tally.duration_histogram[0], 2);
	assert_int_equal(tally.duration_histogram[2], 1);
	assert_int_equal(tally.duration_histogram[DURATION_BUCKETS - 1], 1);
}

static void test_tally_sum(void **state)
{
	struct tally sum = { .accepted = 1 };
	struct tally more = { .accepted = 5, .closed[END_FIN] = 2, .closed[END_RESET] = 1,
			      .refused[REFUSE_ACCESS] = 2 };
	const struct event hostile = { .reason = 999 };

	(void)state;
	tally_add(&sum, &more);
	tally_add_closed(&sum, &hostile);
	assert_int_equal(sum.accepted, 6);
	assert_int_equal(tally_closed(&sum), 4);
	assert_int_equal(sum.closed[END_ERROR], 1);
	assert_int_equal(tally_refused(&sum), 2);
	assert_int_equal(sum.empty, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_tally_duration),
		cmocka_unit_test(test_tally_sum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
