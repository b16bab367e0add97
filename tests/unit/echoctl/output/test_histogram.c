/* SPDX-License-Identifier: MIT */
/* Tests of the latency histogram, its percentiles and how it is drawn. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "echoctl/output/histogram.h"
#include "echoctl/output/report.h"

static struct histogram one;
static struct histogram two;
static struct histogram all;

static int empty(void **state)
{
	(void)state;
	memset(&one, 0, sizeof(one));
	memset(&two, 0, sizeof(two));
	memset(&all, 0, sizeof(all));
	return 0;
}

static void near(uint64_t value, uint64_t wanted)
{
	if (value < wanted || (double)value > (double)wanted * 1.008 + 1)
		fail_msg("%llu is not %llu", (unsigned long long)value, (unsigned long long)wanted);
}

static void test_empty(void **state)
{
	(void)state;
	assert_int_equal(histogram_percentile(&one, 50), 0);
	assert_true(histogram_deviation(&one) == 0);
	histogram_merge(&one, &two);
	assert_int_equal(one.count, 0);
}

static void test_single(void **state)
{
	(void)state;
	histogram_record(&one, 123456789);
	assert_int_equal(one.min_ns, 123456789);
	assert_int_equal(one.max_ns, 123456789);
	assert_true(one.mean_ns == 123456789);
	assert_int_equal(histogram_percentile(&one, 0), 123456789);
	assert_int_equal(histogram_percentile(&one, 50), 123456789);
	assert_int_equal(histogram_percentile(&one, 100), 123456789);
}

static void test_percentiles(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 1000; i++)
		histogram_record(&one, i * 1000);
	near(histogram_percentile(&one, 50), 500000);
	near(histogram_percentile(&one, 90), 900000);
	near(histogram_percentile(&one, 99), 990000);
	near(histogram_percentile(&one, 99.9), 999000);
	assert_int_equal(histogram_percentile(&one, 100), 1000000);
	assert_true(fabs(one.mean_ns - 500500) < 1e-3);
	assert_true(fabs(histogram_deviation(&one) - 288674.9902) < 0.01);
}

static void test_small_values_are_exact(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 256; i++)
		histogram_record(&one, i);
	assert_int_equal(histogram_percentile(&one, 50), 127);
	assert_int_equal(histogram_between(&one, 10, 20), 10);
}

static void test_every_magnitude(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < HISTOGRAM_VALUE_BITS; bit++) {
		for (int step = -1; step <= 1; step++) {
			uint64_t value = (UINT64_C(1) << bit) + (uint64_t)step;

			if (value > HISTOGRAM_VALUE_MAX_NS)
				continue;
			memset(&one, 0, sizeof(one));
			histogram_record(&one, value);
			histogram_record(&one, HISTOGRAM_VALUE_MAX_NS);
			near(histogram_percentile(&one, 50), value);
		}
	}
}

static void test_too_long_counts_as_longest(void **state)
{
	(void)state;
	histogram_record(&one, UINT64_MAX);
	assert_int_equal(one.max_ns, HISTOGRAM_VALUE_MAX_NS);
	assert_int_equal(histogram_percentile(&one, 50), HISTOGRAM_VALUE_MAX_NS);
	assert_int_equal(histogram_between(&one, 0, UINT64_MAX), 1);
	assert_int_equal(histogram_between(&one, UINT64_MAX - 1, UINT64_MAX), 0);
}

static void test_merge_equals_recording_together(void **state)
{
	uint64_t value = 1;

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		value = (value * 48271) % 2147483647;
		histogram_record(i % 3 ? &one : &two, value);
		histogram_record(&all, value);
	}
	histogram_merge(&one, &two);
	assert_int_equal(one.count, all.count);
	assert_int_equal(one.min_ns, all.min_ns);
	assert_int_equal(one.max_ns, all.max_ns);
	assert_true(fabs(one.mean_ns - all.mean_ns) < 1);
	assert_true(fabs(histogram_deviation(&one) - histogram_deviation(&all)) < 1);
	assert_memory_equal(one.buckets, all.buckets, sizeof(one.buckets));
	memset(&two, 0, sizeof(two));
	histogram_merge(&two, &all);
	assert_int_equal(two.min_ns, all.min_ns);
	assert_true(two.mean_ns == all.mean_ns);
}

static void test_small_deviation_of_large_values(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100000; i++)
		histogram_record(&one, 1000000000000 + (i % 2 ? 10 : 0));
	assert_true(fabs(histogram_deviation(&one) - 5) < 0.01);
}

static void test_difference_is_what_came_since(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100; i++)
		histogram_record(&one, 1000);
	two = one;
	for (unsigned i = 0; i < 10; i++)
		histogram_record(&one, 5000000 + i);
	histogram_difference(&one, &two, &all);
	assert_int_equal(all.count, 10);
	near(histogram_percentile(&all, 50), 5000000);
	histogram_difference(&one, &one, &all);
	assert_int_equal(all.count, 0);
	assert_int_equal(histogram_percentile(&all, 99), 0);
}

static void test_between_covers_all(void **state)
{
	uint64_t sum = 0;

	(void)state;
	for (uint64_t i = 1; i < 100000; i += 7)
		histogram_record(&one, i * i);
	for (uint64_t from = 0; from < 10000000000; from = from * 2 + 999)
		sum += histogram_between(&one, from, from * 2 + 999);
	assert_int_equal(sum, one.count);
}

static void test_time_text(void **state)
{
	char text[UNITS_TEXT_MAX];

	(void)state;
	assert_string_equal(units_time(0, text), "0 ns");
	assert_string_equal(units_time(999, text), "999 ns");
	assert_string_equal(units_time(1000, text), "1.00 us");
	assert_string_equal(units_time(12345, text), "12.3 us");
	assert_string_equal(units_time(100000000, text), "100 ms");
	assert_string_equal(units_time(61234567890, text), "61.2 s");
	assert_string_equal(units_time(HISTOGRAM_VALUE_MAX_NS, text), "4398 s");
}

static char *draw(const struct histogram *histogram, bool utf8)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	assert_non_null(stream);
	chart_draw(stream, histogram, 60, utf8);
	fclose(stream);
	return text;
}

static void test_chart(void **state)
{
	char *text;

	(void)state;
	for (unsigned i = 0; i < 150; i++)
		histogram_record(&one, 150000);
	for (unsigned i = 0; i < 50; i++)
		histogram_record(&one, 15000000);
	histogram_record(&one, 1999000000);
	text = draw(&one, false);
	assert_non_null(strstr(text, "  100 us - 200 us           150  74.63%  ########"
				     "#########\n"));
	assert_non_null(strstr(text, " 10.0 ms - 20.0 ms           50  24.88%  #####\n"));
	assert_non_null(strstr(text, "  1.00 s - 2.00 s             1   0.50%  .\n"));
	assert_null(strstr(text, "50.0 us -"));
	free(text);
	text = draw(&one, true);
	assert_non_null(strstr(text, "74.63%  █████████████████\n"));
	free(text);
}

static void test_chart_bounds(void **state)
{
	char *text = draw(&one, true);
	unsigned rows = 0;

	(void)state;
	assert_string_equal(text, "");
	free(text);
	histogram_record(&one, 0);
	histogram_record(&one, HISTOGRAM_VALUE_MAX_NS);
	text = draw(&one, false);
	for (const char *line = text; *line; line++)
		rows += *line == '\n';
	assert_true(rows >= 20 && rows <= 40);
	free(text);
}

static void test_chart_is_finer_for_close_values(void **state)
{
	char *text;

	(void)state;
	for (uint64_t value = 40000; value < 90000; value += 100)
		histogram_record(&one, value);
	text = draw(&one, false);
	assert_non_null(strstr(text, " 45.0 us - 50.0 us "));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_empty, empty),
		cmocka_unit_test_setup(test_single, empty),
		cmocka_unit_test_setup(test_percentiles, empty),
		cmocka_unit_test_setup(test_small_values_are_exact, empty),
		cmocka_unit_test_setup(test_every_magnitude, empty),
		cmocka_unit_test_setup(test_too_long_counts_as_longest, empty),
		cmocka_unit_test_setup(test_merge_equals_recording_together, empty),
		cmocka_unit_test_setup(test_small_deviation_of_large_values, empty),
		cmocka_unit_test_setup(test_difference_is_what_came_since, empty),
		cmocka_unit_test_setup(test_between_covers_all, empty),
		cmocka_unit_test(test_time_text),
		cmocka_unit_test_setup(test_chart, empty),
		cmocka_unit_test_setup(test_chart_bounds, empty),
		cmocka_unit_test_setup(test_chart_is_finer_for_close_values, empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
