/* SPDX-License-Identifier: MIT */
/* Tests of fixed schedules, of the coordinated omission that they prevent, and of the payloads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "echoctl/output/histogram.h"
#include "echoctl/probe/payload.h"
#include "echoctl/probe/schedule.h"

static void test_no_drift(void **state)
{
	const struct schedule thirds = { .start_ns = 5, .period_ns = 1000000000, .per_period = 3 };

	(void)state;
	assert_int_equal(schedule_due_ns(&thirds, 0), 5);
	assert_int_equal(schedule_due_ns(&thirds, 1), 5 + 333333334);
	assert_int_equal(schedule_due_ns(&thirds, 3), 5 + 1000000000);
	assert_int_equal(schedule_due_ns(&thirds, 3000000), 5 + UINT64_C(1000000) * 1000000000);
	assert_int_equal(schedule_due_ns(&thirds, UINT64_MAX), UINT64_MAX);
}

static void test_count_agrees_with_due(void **state)
{
	static const struct schedule schedules[] = {
		{ .start_ns = 1000, .period_ns = 1000000, .per_period = 1 },
		{ .start_ns = 1, .period_ns = 1000000000, .per_period = 7 },
		{ .start_ns = 77, .period_ns = 1000000000, .per_period = 999983 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(schedules) / sizeof(schedules[0]); i++) {
		assert_int_equal(schedule_count(&schedules[i], 0), 0);
		for (uint64_t event = 0; event < 5000; event++) {
			uint64_t due_ns = schedule_due_ns(&schedules[i], event);

			assert_int_equal(schedule_count(&schedules[i], due_ns), event + 1);
			assert_int_equal(schedule_count(&schedules[i], due_ns - 1), event);
		}
	}
}

/*
 * A server that answers in 1 ms but stands still for one second of ten, probed 100 times a second
 * by a client that has one request in flight: only latencies from the due time show that a tenth
 * of all requests met the stall.
 */
static void test_latency_from_the_due_time_shows_a_stall(void **state)
{
	static struct histogram raw;
	static struct histogram corrected;
	const struct schedule schedule = { .period_ns = 1000000000, .per_period = 100 };
	const uint64_t stall_from_ns = 5000000000;
	const uint64_t stall_to_ns = 6000000000;
	uint64_t now_ns = 0;

	(void)state;
	for (uint64_t event = 0; event < 1000; event++) {
		uint64_t due_ns = schedule_due_ns(&schedule, event);
		uint64_t sent_ns = now_ns > due_ns ? now_ns : due_ns;

		now_ns = sent_ns + 1000000;
		if (now_ns > stall_from_ns && sent_ns < stall_to_ns)
			now_ns = stall_to_ns + 1000000;
		histogram_record(&raw, now_ns - sent_ns);
		histogram_record(&corrected, now_ns - due_ns);
	}
	assert_true(histogram_percentile(&raw, 99) < 1100000);
	assert_true(histogram_percentile(&corrected, 99) > 850000000);
	assert_true(histogram_percentile(&corrected, 80) < 1100000);
	assert_int_equal(raw.max_ns, corrected.max_ns);
}

static void test_payload(void **state)
{
	uint8_t bytes[600];

	(void)state;
	payload_fill(bytes, sizeof(bytes), 0x1234, 0x56789a);
	assert_int_equal(bytes[0], 0x34);
	assert_int_equal(bytes[1], 0x12);
	assert_int_equal(bytes[8], 0x9a);
	assert_int_equal(payload_mismatch(bytes, sizeof(bytes), 0x1234, 0x56789a), sizeof(bytes));
	assert_int_equal(payload_mismatch(bytes, sizeof(bytes), 0x1235, 0x56789a), 0);
	assert_int_equal(payload_mismatch(bytes, sizeof(bytes), 0x1234, 0x56789b), 8);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] ^= 0x20;
		assert_int_equal(payload_mismatch(bytes, sizeof(bytes), 0x1234, 0x56789a), i);
		bytes[i] ^= 0x20;
	}
	payload_fill(bytes, 1, 7, 0);
	assert_int_equal(payload_mismatch(bytes, 1, 7, 0), 1);
	assert_int_equal(payload_mismatch(bytes, 1, 8, 0), 0);
}

static void test_windows_differ(void **state)
{
	uint8_t *table = payload_table_new(16);

	(void)state;
	assert_non_null(table);
	for (uint64_t message = 0; message < 1000; message++) {
		const uint8_t *window = table + payload_window(3, message);

		assert_true(payload_window(3, message) < PAYLOAD_WINDOWS);
		assert_memory_not_equal(window, table + payload_window(3, message + 1), 16);
		assert_memory_not_equal(window, table + payload_window(4, message), 16);
		assert_memory_not_equal(window, window + 1, 15);
	}
	free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_drift),
		cmocka_unit_test(test_count_agrees_with_due),
		cmocka_unit_test(test_latency_from_the_due_time_shows_a_stall),
		cmocka_unit_test(test_payload),
		cmocka_unit_test(test_windows_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
