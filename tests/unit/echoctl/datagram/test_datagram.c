/* SPDX-License-Identifier: MIT */
/* Tests of what is judged of a datagram: its bytes, its order, its time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "echoctl/datagram/order.h"
#include "echoctl/datagram/probe.h"
#include "echoctl/datagram/socket.h"

#define SIZE 64

static const struct datagram_probe probe = {
	.run = UINT64_C(0x0123456789abcdef), .sequence = 7, .sent_ns = 1000, .size_bytes = SIZE,
};
static uint8_t bytes[2 * SIZE];

static int set_up(void **state)
{
	(void)state;
	datagram_fill(&probe, bytes);
	datagram_fill(&probe, bytes + SIZE);
	return 0;
}

static void assert_judged(size_t size, enum datagram_verdict verdict, size_t offset_bytes)
{
	struct datagram_judgement judgement = datagram_judge(&probe, bytes, size);

	assert_int_equal(judgement.verdict, verdict);
	if (verdict != DATAGRAM_INTACT)
		assert_int_equal(judgement.offset_bytes, offset_bytes);
}

static void test_sizes(void **state)
{
	(void)state;
	assert_judged(SIZE, DATAGRAM_INTACT, 0);
	for (size_t size = 0; size < SIZE; size++)
		assert_judged(size, DATAGRAM_CUT, size);
	for (size_t size = SIZE + 1; size < SIZE + DATAGRAM_MATCHED_BYTES; size++)
		assert_judged(size, DATAGRAM_CORRUPT, SIZE);
	assert_judged(2 * SIZE, DATAGRAM_MERGED, SIZE);
}

static void test_each_changed_byte_is_found_and_the_probe_still_known(void **state)
{
	uint32_t sequence = 0;

	(void)state;
	for (size_t i = 0; i < SIZE; i++) {
		bytes[i] ^= 0xff;
		assert_judged(SIZE, DATAGRAM_CORRUPT, i);
		assert_int_equal(datagram_identify(bytes, SIZE, probe.run, &sequence),
				 DATAGRAM_OURS);
		bytes[i] ^= 0xff;
	}
	assert_int_equal(sequence, probe.sequence);
}

static void test_origin(void **state)
{
	uint32_t sequence = 0;

	(void)state;
	assert_int_equal(datagram_identify(bytes, SIZE, ~probe.run, &sequence), DATAGRAM_FOREIGN);
	assert_int_equal(datagram_identify(bytes, 15, probe.run, &sequence), DATAGRAM_UNKNOWN);
	assert_int_equal(datagram_identify(bytes, 16, probe.run, &sequence), DATAGRAM_OURS);
	memset(bytes, 0, SIZE);
	assert_int_equal(datagram_identify(bytes, SIZE, probe.run, &sequence), DATAGRAM_UNKNOWN);
}

static void test_small_probes(void **state)
{
	struct datagram_probe small = probe;
	uint8_t one[DATAGRAM_HEADER_BYTES];
	uint8_t other[DATAGRAM_HEADER_BYTES];

	(void)state;
	for (small.size_bytes = 0; small.size_bytes < sizeof(one); small.size_bytes++) {
		small.sequence = 1;
		datagram_fill(&small, one);
		assert_int_equal(datagram_judge(&small, one, small.size_bytes).verdict,
				 DATAGRAM_INTACT);
		small.sequence = 2;
		datagram_fill(&small, other);
		if (small.size_bytes > 0)
			assert_memory_not_equal(one, other, small.size_bytes);
	}
}

static void test_order(void **state)
{
	/* 4 overtakes two probes, 1 is three arrivals late (RFC 4737, 4.2). */
	static const uint64_t arrivals[] = { 4, 2, 3, 1, 5 };
	static const bool reordered[] = { false, true, true, true, false };
	static struct order order;

	(void)state;
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(order_arrived(&order, arrivals[i]), reordered[i]);
	assert_int_equal(order.reordered, 3);
	assert_int_equal(order.extent_max, 3);
}

static void test_order_of_more_than_the_ring(void **state)
{
	static struct order order;

	(void)state;
	for (uint64_t i = 1; i < 3 * ORDER_RECORDS; i++)
		assert_false(order_arrived(&order, i));
	assert_true(order_arrived(&order, 0));
	assert_int_equal(order.extent_max, ORDER_RECORDS);
}

static void test_losses_in_a_row(void **state)
{
	static const bool lost[] = { true, false, true, true, true, false, true, true };
	static struct order order;

	(void)state;
	for (size_t i = 0; i < 8; i++)
		order_settled(&order, lost[i]);
	assert_int_equal(order.lost_in_a_row_max, 3);
}

static void test_jitter(void **state)
{
	static struct order order;

	(void)state;
	/* J += (|D| - J) / 16 */
	order_timed(&order, 1000);
	assert_float_equal(order.jitter_ns, 0, 0);
	order_timed(&order, 1160);
	assert_float_equal(order.jitter_ns, 10, 1e-9);
	order_timed(&order, 1000);
	assert_float_equal(order.jitter_ns, 10 + 150.0 / 16, 1e-9);
}

static void test_time(void **state)
{
	bool kernel;

	(void)state;
	assert_int_equal(datagram_choose_time(100, 1000, 1090, &kernel), 90);
	assert_true(kernel);
	/* No stamp, a step of the clock there or back. */
	assert_int_equal(datagram_choose_time(100, 0, 1090, &kernel), 100);
	assert_false(kernel);
	assert_int_equal(datagram_choose_time(100, 1000, 0, &kernel), 100);
	assert_false(kernel);
	assert_int_equal(datagram_choose_time(100, 1000, 900, &kernel), 100);
	assert_false(kernel);
	assert_int_equal(datagram_choose_time(100, 1000, 5000, &kernel), 100);
	assert_false(kernel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_sizes, set_up),
		cmocka_unit_test_setup(test_each_changed_byte_is_found_and_the_probe_still_known,
				       set_up),
		cmocka_unit_test_setup(test_origin, set_up),
		cmocka_unit_test(test_small_probes),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_order_of_more_than_the_ring),
		cmocka_unit_test(test_losses_in_a_row),
		cmocka_unit_test(test_jitter),
		cmocka_unit_test(test_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
