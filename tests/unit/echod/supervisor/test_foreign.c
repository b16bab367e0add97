/* SPDX-License-Identifier: MIT */
/* Sources of other generations: merged, sorted, bounded, and found again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "echod/supervisor/share.h"

static struct foreign foreign;

static void set_address(uint8_t address[16], uint32_t number)
{
	memset(address, 0, 16);
	memcpy(address + 7, &number, sizeof(number));	/* in both halves of the key */
}

static void add(struct foreign_counts *counts, uint32_t number, uint32_t live)
{
	struct foreign_count *item = &counts->items[counts->count++];
	uint8_t address[16];

	set_address(address, number);
	foreign_key(address, item->key);
	item->live = live;
}

static uint32_t find(uint32_t number)
{
	uint8_t address[16];

	set_address(address, number);
	return foreign_find(&foreign, address);
}

static void test_merge(void **state)
{
	struct foreign_count items[8];
	struct foreign_counts counts = { .items = items };

	(void)state;
	assert_int_equal(find(1), 0);
	for (uint32_t i = 0; i < 2; i++) {
		add(&counts, 0x01000300, 1);
		add(&counts, 7, 1);
		add(&counts, 0xffffffff, 1);
		add(&counts, 7, 1);
	}
	foreign_publish(&foreign, &counts);
	assert_int_equal(find(7), 4);
	assert_int_equal(find(0x01000300), 2);
	assert_int_equal(find(0xffffffff), 2);
	assert_int_equal(find(0), 0);
	assert_int_equal(find(8), 0);
	counts.count = 0;
	add(&counts, 8, 1);
	foreign_publish(&foreign, &counts);
	assert_int_equal(find(7), 0);
	assert_int_equal(find(8), 1);
	counts.count = 0;
	foreign_publish(&foreign, &counts);
	assert_int_equal(find(8), 0);
}

/* More sources than there is room for: those with most connections are told. */
static void test_largest(void **state)
{
	struct foreign_counts counts = { .items = calloc(2 * FOREIGN_SOURCES,
							  sizeof(*counts.items)) };

	(void)state;
	assert_non_null(counts.items);
	for (uint32_t i = 0; i < 2 * FOREIGN_SOURCES; i++)
		add(&counts, i * 0x10001, i % 2 ? 9 : 1);
	foreign_publish(&foreign, &counts);
	for (uint32_t i = 0; i < 2 * FOREIGN_SOURCES; i++)
		assert_int_equal(find(i * 0x10001), i % 2 ? 9 : 0);
	free(counts.items);
}

/* Whatever stands there, nothing outside is read. */
static void test_hostile(void **state)
{
	const struct foreign_counts nobody = { .count = 0 };

	(void)state;
	atomic_store(&foreign.valid, UINT32_MAX);
	atomic_store(&foreign.halves[1].count, UINT32_MAX);
	for (uint32_t i = 0; i < 100; i++)
		(void)find(i * 0x2000001);
	foreign_publish(&foreign, &nobody);
	assert_int_equal(find(1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_largest),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
