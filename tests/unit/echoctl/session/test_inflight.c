/* SPDX-License-Identifier: MIT */
/* The store of what is in flight: bytes, then digests, differences, excess. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "echoctl/session/inflight.h"
#include "echoctl/probe/pattern.h"

#define BLOCK_BYTES INFLIGHT_BLOCK_BYTES
#define EXACT_BYTES (8 * BLOCK_BYTES)
#define STREAM_BYTES (4 * EXACT_BYTES)

static uint8_t stream[STREAM_BYTES];
static struct inflight store;
static struct inflight_difference difference;

static int set_up(void **state)
{
	pattern_fill(PATTERN_RANDOM, 0, stream, sizeof(stream));
	*state = &store;
	difference = (struct inflight_difference){0};
	return inflight_open(&store, EXACT_BYTES);
}

static int tear_down(void **state)
{
	(void)state;
	return close(store.fd);
}

static void put(struct inflight *inflight, size_t from, size_t end)
{
	assert_int_equal(inflight_put(inflight, stream + from, end - from), 0);
}

static void check_equal(struct inflight *inflight, size_t from, size_t end)
{
	assert_int_equal(inflight_check(inflight, stream + from, end - from, &difference),
			 INFLIGHT_EQUAL);
}

static void test_a_long_stream_wraps(void **state)
{
	for (size_t at = 0; at + 1000 <= STREAM_BYTES; at += 1000) {
		put(*state, at, at + 1000);
		check_equal(*state, at, at + 300);
		check_equal(*state, at + 300, at + 1000);
	}
}

/* As much in flight all the time as is kept as bytes. */
static void test_a_full_store_wraps(void **state)
{
	uint8_t wrong = (uint8_t)(stream[STREAM_BYTES - 1] ^ 1);

	put(*state, 0, EXACT_BYTES);
	for (size_t at = 0; at + EXACT_BYTES < STREAM_BYTES; at += BLOCK_BYTES) {
		check_equal(*state, at, at + BLOCK_BYTES);
		put(*state, EXACT_BYTES + at, EXACT_BYTES + at + BLOCK_BYTES);
	}
	check_equal(*state, STREAM_BYTES - EXACT_BYTES, STREAM_BYTES - 1);
	assert_int_equal(inflight_check(*state, &wrong, 1, &difference), INFLIGHT_DIFFERS);
	assert_int_equal(difference.offset, STREAM_BYTES - 1);
	assert_int_equal(difference.block_bytes, 0);
	assert_int_equal(difference.sent, stream[STREAM_BYTES - 1]);
	assert_int_equal(difference.got, wrong);
}

static void test_digests_follow_the_bytes(void **state)
{
	put(*state, 0, STREAM_BYTES);
	for (size_t at = 0; at < STREAM_BYTES; at += 1024)
		check_equal(*state, at, at + 1024);
	assert_int_equal(inflight_check_tail(*state, &difference), INFLIGHT_EQUAL);
}

static void test_difference_before_the_digests_is_exact(void **state)
{
	put(*state, 0, STREAM_BYTES);
	stream[EXACT_BYTES - 1] ^= 1;
	assert_int_equal(inflight_check(*state, stream, STREAM_BYTES, &difference),
			 INFLIGHT_DIFFERS);
	assert_int_equal(difference.offset, EXACT_BYTES - 1);
	assert_int_equal(difference.block_bytes, 0);
}

static void test_digest_names_the_block(void **state)
{
	size_t at = EXACT_BYTES + 2 * BLOCK_BYTES + 4;

	put(*state, 0, STREAM_BYTES);
	check_equal(*state, 0, at);
	stream[at + 1] ^= 1;
	assert_int_equal(inflight_check(*state, stream + at, BLOCK_BYTES, &difference),
			 INFLIGHT_DIFFERS);
	assert_int_equal(difference.offset, EXACT_BYTES + 2 * BLOCK_BYTES);
	assert_int_equal(difference.block_bytes, BLOCK_BYTES);
}

static void test_digest_of_the_tail(void **state)
{
	size_t at = EXACT_BYTES + BLOCK_BYTES + 5;

	put(*state, 0, at + 1);
	check_equal(*state, 0, at);
	stream[at] ^= 1;
	check_equal(*state, at, at + 1);
	assert_int_equal(inflight_check_tail(*state, &difference), INFLIGHT_DIFFERS);
	assert_int_equal(difference.offset, EXACT_BYTES + BLOCK_BYTES);
	assert_int_equal(difference.block_bytes, 6);
}

static void test_good_tail(void **state)
{
	put(*state, 0, EXACT_BYTES + 38);
	check_equal(*state, 0, EXACT_BYTES + 38);
	assert_int_equal(inflight_check_tail(*state, &difference), INFLIGHT_EQUAL);
}

static void test_excess(void **state)
{
	put(*state, 0, 5);
	assert_int_equal(inflight_check(*state, stream, 6, &difference), INFLIGHT_EXCESS);
	assert_int_equal(difference.offset, 5);
	assert_int_equal(difference.got, stream[5]);
}

static void test_difference_comes_before_excess(void **state)
{
	uint8_t wrong[6];

	put(*state, 0, 5);
	memcpy(wrong, stream, sizeof(wrong));
	wrong[4] ^= 1;
	assert_int_equal(inflight_check(*state, wrong, 6, &difference), INFLIGHT_DIFFERS);
	assert_int_equal(difference.offset, 4);
}

static void test_default_sizes_hold_128_mib_exactly(void **state)
{
	struct inflight inflight;
	size_t size = 1u << 20;
	uint8_t *bytes = malloc(size);
	unsigned i;

	(void)state;
	assert_non_null(bytes);
	assert_int_equal(inflight_open(&inflight, INFLIGHT_EXACT_BYTES), 0);
	for (i = 0; i < 128; i++) {
		pattern_fill(PATTERN_RANDOM, (uint64_t)i * size, bytes, size);
		assert_int_equal(inflight_put(&inflight, bytes, size), 0);
	}
	for (i = 0; i < 128; i++) {
		pattern_fill(PATTERN_RANDOM, (uint64_t)i * size, bytes, size);
		bytes[size - 1] ^= i == 127;
		if (inflight_check(&inflight, bytes, size, &difference) != INFLIGHT_EQUAL)
			break;
	}
	assert_int_equal(i, 127);
	assert_int_equal(difference.offset, 128u * size - 1);
	assert_int_equal(difference.block_bytes, 0);
	free(bytes);
	close(inflight.fd);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_long_stream_wraps),
		CASE(test_a_full_store_wraps),
		CASE(test_digests_follow_the_bytes),
		CASE(test_difference_before_the_digests_is_exact),
		CASE(test_digest_names_the_block),
		CASE(test_digest_of_the_tail),
		CASE(test_good_tail),
		CASE(test_excess),
		CASE(test_difference_comes_before_excess),
		cmocka_unit_test(test_default_sizes_hold_128_mib_exactly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
