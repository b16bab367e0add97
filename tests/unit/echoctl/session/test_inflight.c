/* SPDX-License-Identifier: MIT */
/* The store of what is in flight: rings that grow, digests, differences, excess. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "echoctl/session/inflight.h"
#include "echoctl/session/pattern.h"

#define STREAM_BYTES 4096

/* Rings of 16, 32 and 64 bytes, then 8 digests of 32 bytes. */
static const struct inflight_sizes small = {
	.first_ring_bytes = 16,
	.n_rings = 3,
	.block_bytes = 32,
	.n_digests = 8,
};

static uint8_t stream[STREAM_BYTES];
static struct inflight_difference difference;

static int set_up(void **state)
{
	pattern_fill(PATTERN_RANDOM, 0, stream, sizeof(stream));
	*state = inflight_new(&small);
	difference = (struct inflight_difference){0};
	return *state == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	inflight_free(*state);
	return 0;
}

/* Sends as much as there is room for, up to end; returns where it stopped. */
static size_t put_to(struct inflight *inflight, size_t from, size_t end)
{
	return from + inflight_put(inflight, stream + from, end - from);
}

static void check_equal(struct inflight *inflight, size_t from, size_t end)
{
	assert_int_equal(inflight_check(inflight, stream + from, end - from, &difference),
			 INFLIGHT_EQUAL);
}

static void test_one_ring_wraps(void **state)
{
	for (size_t at = 0; at + 10 <= STREAM_BYTES; at += 10) {
		assert_int_equal(put_to(*state, at, at + 10), at + 10);
		check_equal(*state, at, at + 3);
		check_equal(*state, at + 3, at + 10);
	}
}

static void test_growth_keeps_every_byte(void **state)
{
	/* With what the rings left behind hold: 16 + 32 + 64 before the digests begin. */
	assert_int_equal(put_to(*state, 0, 112), 112);
	for (size_t at = 0; at < 112; at++)
		check_equal(*state, at, at + 1);
}

static void test_difference_is_exact_in_any_ring(void **state)
{
	uint8_t wrong = (uint8_t)(stream[57] ^ 1);

	put_to(*state, 0, 112);
	check_equal(*state, 0, 57);
	assert_int_equal(inflight_check(*state, &wrong, 1, &difference), INFLIGHT_DIFFERS);
	assert_int_equal(difference.offset, 57);
	assert_int_equal(difference.block_bytes, 0);
	assert_int_equal(difference.sent, stream[57]);
	assert_int_equal(difference.got, wrong);
}

static void test_full_store_takes_no_more(void **state)
{
	size_t limit = 112 + 8 * 32;

	assert_int_equal(put_to(*state, 0, STREAM_BYTES), limit);
	assert_int_equal(put_to(*state, limit, STREAM_BYTES), limit);
	/* The last byte of the first block in digests makes room for another block. */
	check_equal(*state, 0, 112 + 31);
	assert_int_equal(put_to(*state, limit, STREAM_BYTES), limit);
	check_equal(*state, 112 + 31, 112 + 32);
	assert_int_equal(put_to(*state, limit, STREAM_BYTES), limit + 32);
}

static void test_digests_follow_the_stream(void **state)
{
	size_t put = put_to(*state, 0, STREAM_BYTES);

	for (size_t at = 0; at + 7 <= put; at += 7) {
		check_equal(*state, at, at + 7);
		put = put_to(*state, put, STREAM_BYTES);
	}
	assert_int_equal(put, STREAM_BYTES);
}

static void test_digest_names_the_block(void **state)
{
	put_to(*state, 0, 300);
	check_equal(*state, 0, 180);
	stream[181] ^= 1;
	assert_int_equal(inflight_check(*state, stream + 180, 120, &difference), INFLIGHT_DIFFERS);
	assert_int_equal(difference.offset, 112 + 2 * 32);
	assert_int_equal(difference.block_bytes, 32);
}

static void test_digest_of_the_tail(void **state)
{
	put_to(*state, 0, 150);
	check_equal(*state, 0, 149);
	stream[149] ^= 1;
	check_equal(*state, 149, 150);
	assert_int_equal(inflight_check_tail(*state, &difference), INFLIGHT_DIFFERS);
	assert_int_equal(difference.offset, 144);
	assert_int_equal(difference.block_bytes, 6);
}

static void test_good_tail(void **state)
{
	put_to(*state, 0, 150);
	check_equal(*state, 0, 150);
	assert_int_equal(inflight_check_tail(*state, &difference), INFLIGHT_EQUAL);
}

static void test_excess(void **state)
{
	put_to(*state, 0, 5);
	assert_int_equal(inflight_check(*state, stream, 6, &difference), INFLIGHT_EXCESS);
	assert_int_equal(difference.offset, 5);
	assert_int_equal(difference.got, stream[5]);
}

static void test_difference_comes_before_excess(void **state)
{
	uint8_t wrong[6];

	put_to(*state, 0, 5);
	memcpy(wrong, stream, sizeof(wrong));
	wrong[4] ^= 1;
	assert_int_equal(inflight_check(*state, wrong, 6, &difference), INFLIGHT_DIFFERS);
	assert_int_equal(difference.offset, 4);
}

static void test_default_sizes_hold_64_mib_exactly(void **state)
{
	struct inflight *inflight = inflight_new(&inflight_default_sizes);
	size_t size = 1u << 20;
	uint8_t *bytes = malloc(size);
	unsigned i;

	(void)state;
	assert_non_null(inflight);
	assert_non_null(bytes);
	for (i = 0; i < 64; i++) {
		pattern_fill(PATTERN_RANDOM, (uint64_t)i * size, bytes, size);
		assert_int_equal(inflight_put(inflight, bytes, size), size);
	}
	for (i = 0; i < 64; i++) {
		pattern_fill(PATTERN_RANDOM, (uint64_t)i * size, bytes, size);
		bytes[size - 1] ^= i == 63;
		if (inflight_check(inflight, bytes, size, &difference) != INFLIGHT_EQUAL)
			break;
	}
	assert_int_equal(i, 63);
	assert_int_equal(difference.offset, 64u * size - 1);
	assert_int_equal(difference.block_bytes, 0);
	free(bytes);
	inflight_free(inflight);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_one_ring_wraps),
		CASE(test_growth_keeps_every_byte),
		CASE(test_difference_is_exact_in_any_ring),
		CASE(test_full_store_takes_no_more),
		CASE(test_digests_follow_the_stream),
		CASE(test_digest_names_the_block),
		CASE(test_digest_of_the_tail),
		CASE(test_good_tail),
		CASE(test_excess),
		CASE(test_difference_comes_before_excess),
		cmocka_unit_test(test_default_sizes_hold_64_mib_exactly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
