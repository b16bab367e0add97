/* SPDX-License-Identifier: MIT */
/* Slots: each is given out once, and a process id finds its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "listener/tables.h"

#define SLOTS 100u

static void test_each_once(void **state)
{
	struct slots slots;
	uint8_t seen[SLOTS] = { 0 };

	(void)state;
	assert_int_equal(slots_init(&slots, SLOTS), 0);
	for (uint32_t i = 0; i < SLOTS; i++) {
		uint32_t slot = slots_take(&slots);

		assert_int_equal(slot, i);
		assert_int_equal(seen[slot]++, 0);
	}
	assert_int_equal(slots_take(&slots), SLOTS_NONE);
	slots_give(&slots, 7);
	slots_give(&slots, 3);
	assert_int_equal(slots_take(&slots), 3);
	assert_int_equal(slots_take(&slots), 7);
	assert_int_equal(slots_take(&slots), SLOTS_NONE);
}

static void test_unknown_pid(void **state)
{
	struct slots slots;

	(void)state;
	assert_int_equal(slots_init(&slots, 4), 0);
	slots_bind(&slots, 4711, 2);
	assert_int_equal(slots_unbind(&slots, 4712), SLOTS_NONE);
	assert_int_equal(slots_unbind(&slots, 0), SLOTS_NONE);
	assert_int_equal(slots_unbind(&slots, -1), SLOTS_NONE);
	assert_int_equal(slots_unbind(&slots, 4711), 2);
	assert_int_equal(slots_unbind(&slots, 4711), SLOTS_NONE);
}

/* Against an array: binds and unbinds in every order leave the others reachable. */
static void test_as_an_array(void **state)
{
	struct slots slots;
	int32_t pid_of[SLOTS] = { 0 };
	uint32_t random = 1;

	(void)state;
	assert_int_equal(slots_init(&slots, SLOTS), 0);
	for (int round = 0; round < 200000; round++) {
		uint32_t slot;

		random = random * 1664525u + 1013904223u;
		slot = (random >> 16) % SLOTS;
		if (pid_of[slot] != 0) {
			assert_int_equal(slots_unbind(&slots, pid_of[slot]), slot);
			assert_int_equal(slots_unbind(&slots, pid_of[slot]), SLOTS_NONE);
			pid_of[slot] = 0;
		} else {
			pid_of[slot] = (int32_t)(1 + round * (uint32_t)SLOTS + slot);
			slots_bind(&slots, pid_of[slot], slot);
		}
	}
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		if (pid_of[slot] != 0)
			assert_int_equal(slots_unbind(&slots, pid_of[slot]), slot);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_once),
		cmocka_unit_test(test_unknown_pid),
		cmocka_unit_test(test_as_an_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
