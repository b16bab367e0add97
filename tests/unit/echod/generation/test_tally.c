/* SPDX-License-Identifier: MIT */
/* What a generation has counted: durations by bucket, sums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "echod/generation/tally.h"

static void test_tally_duration(void **state)
{
	struct tally tally = { 0 };
	struct event event = { .start_ns = 1000000, .end_ns = 1000000 + 999999 };

	(void)state;
	tally_add_closed(&tally, &event);		/* 0.999 ms */
	event.end_ns = 1000000 + 3000000;
	tally_add_closed(&tally, &event);		/* 3 ms */
	event.end_ns = 0;
	tally_add_closed(&tally, &event);		/* nonsense */
	event.end_ns = UINT64_MAX;
	tally_add_closed(&tally, &event);
	assert_int_equal(tally.duration_histogram[0], 2);
	assert_int_equal(tally.duration_histogram[2], 1);
	assert_int_equal(tally.duration_histogram[DURATION_BUCKETS - 1], 1);
	assert_int_equal(tally_closed(&tally), 4);
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

static void test_datagrams_settle(void **state)
{
	struct datagrams datagrams = {0};
	struct datagram_counters *whole = &datagrams.sockets[0], *cut = &datagrams.sockets[1];
	struct datagram_counters *hostile = &datagrams.sockets[2];
	struct tally tally = {0};

	(void)state;
	whole->received = 7;
	whole->sent = 4;
	whole->dropped[DROP_PORT] = 3;
	cut->received = 40;
	cut->sent = 5;
	cut->dropped[DROP_UNSENT] = 3;
	hostile->sent = 1000;
	datagrams_settle(&datagrams);
	assert_int_equal(whole->dropped[DROP_UNSENT], 0);
	assert_int_equal(cut->dropped[DROP_UNSENT], 35);
	assert_int_equal(hostile->dropped[DROP_UNSENT], 0);
	tally_add_datagrams(&tally, &datagrams);
	assert_int_equal(tally.datagrams_dropped[DROP_UNSENT], 35);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tally_duration),
		cmocka_unit_test(test_tally_sum),
		cmocka_unit_test(test_datagrams_settle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
