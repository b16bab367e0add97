/* SPDX-License-Identifier: MIT */
/* Sources: counts by prefix, rates, and memory that a flood does not move. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "listener/tables.h"

static const struct settings defaults = {
	.connections = 8,
	.source_prefix_ipv4 = 24,
	.source_prefix_ipv6 = 64,
};

static void set_ipv4(uint8_t address[16], uint32_t value)
{
	const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	memcpy(address, mapped, sizeof(mapped));
	for (int i = 0; i < 4; i++)
		address[12 + i] = (uint8_t)(value >> (24 - 8 * i));
}

static void set_ipv6(uint8_t address[16], uint64_t network, uint64_t host)
{
	for (int i = 0; i < 8; i++) {
		address[i] = (uint8_t)(network >> (56 - 8 * i));
		address[8 + i] = (uint8_t)(host >> (56 - 8 * i));
	}
}

static void test_off(void **state)
{
	struct sources sources;
	uint8_t address[16];
	uint32_t source = 0;

	(void)state;
	assert_int_equal(sources_init(&sources, &defaults), 0);
	set_ipv4(address, 0x7f000001);
	assert_int_equal(sources_enter(&sources, address, 0, &source), 0);
	assert_int_equal(source, SOURCES_NONE);
	sources_leave(&sources, source);
}

static void test_per_source(void **state)
{
	struct settings settings = defaults;
	struct sources sources;
	uint8_t address[16];
	uint32_t first = 0, second = 0, other = 0, refused = 77;

	(void)state;
	settings.connections_per_source = 2;
	assert_int_equal(sources_init(&sources, &settings), 0);
	set_ipv4(address, 0xc0000201);
	assert_int_equal(sources_enter(&sources, address, 0, &first), 0);
	set_ipv4(address, 0xc00002fe);
	assert_int_equal(sources_enter(&sources, address, 0, &second), 0);
	assert_int_equal(first, second);
	assert_int_equal(sources_enter(&sources, address, 0, &refused), -EUSERS);
	assert_int_equal(refused, 77);
	set_ipv4(address, 0xc0000301);
	assert_int_equal(sources_enter(&sources, address, 0, &other), 0);
	assert_int_not_equal(other, first);
	sources_leave(&sources, first);
	set_ipv4(address, 0xc0000203);
	assert_int_equal(sources_enter(&sources, address, 0, &first), 0);
	assert_int_equal(sources_enter(&sources, address, 0, &refused), -EUSERS);
}

static void test_ipv6_prefix(void **state)
{
	struct settings settings = defaults;
	struct sources sources;
	uint8_t address[16];
	uint32_t source = 0;

	(void)state;
	settings.connections_per_source = 1;
	assert_int_equal(sources_init(&sources, &settings), 0);
	set_ipv6(address, 0x20010db800000001u, 1);
	assert_int_equal(sources_enter(&sources, address, 0, &source), 0);
	set_ipv6(address, 0x20010db800000001u, 0xffffffffffffffffu);
	assert_int_equal(sources_enter(&sources, address, 0, &source), -EUSERS);
	set_ipv6(address, 0x20010db800000002u, 1);
	assert_int_equal(sources_enter(&sources, address, 0, &source), 0);
}

static void test_rate(void **state)
{
	struct settings settings = defaults;
	struct sources sources;
	uint8_t address[16];
	uint32_t source = 0;

	(void)state;
	settings.rate_per_source = 10;
	settings.rate_burst = 2;
	assert_int_equal(sources_init(&sources, &settings), 0);
	set_ipv4(address, 0x0a000001);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sources_enter(&sources, address, 0, &source), 0);
		sources_leave(&sources, source);
	}
	assert_int_equal(sources_enter(&sources, address, 0, &source), -EAGAIN);
	assert_int_equal(sources_enter(&sources, address, CLOCK_NS_PER_S / 10, &source), 0);
	sources_leave(&sources, source);
	assert_int_equal(sources_enter(&sources, address, CLOCK_NS_PER_S / 10, &source), -EAGAIN);
}

/* A flood from a /48 forgets idle sources, never one with a connection, and never fails. */
static void test_flood(void **state)
{
	struct settings settings = defaults;
	struct sources sources;
	uint8_t victim[16], address[16];
	uint32_t held = 0, source = 0;

	(void)state;
	settings.connections_per_source = 1;
	settings.rate_per_source = 1;
	settings.rate_burst = 1;
	assert_int_equal(sources_init(&sources, &settings), 0);
	set_ipv4(victim, 0xc0000201);
	assert_int_equal(sources_enter(&sources, victim, 0, &held), 0);
	for (uint64_t i = 0; i < 4 * SOURCES_IDLE; i++) {
		set_ipv6(address, 0x20010db800000000u + i, 1);
		assert_int_equal(sources_enter(&sources, address, 0, &source), 0);
		sources_leave(&sources, source);
	}
	assert_int_equal(sources_enter(&sources, victim, 0, &source), -EUSERS);
	assert_int_equal(sources_enter(&sources, address, 0, &source), -EAGAIN);
	set_ipv6(address, 0x20010db800000000u, 1);
	assert_int_equal(sources_enter(&sources, address, 0, &source), 0);
}

/* Without a rate there is nothing to remember a source for: one node serves all that come. */
static void test_flood_without_rate(void **state)
{
	struct settings settings = defaults;
	struct sources sources;
	uint8_t address[16];
	uint32_t held = 0, source = 0;

	(void)state;
	settings.connections_per_source = 1;
	assert_int_equal(sources_init(&sources, &settings), 0);
	set_ipv6(address, 1, 1);
	assert_int_equal(sources_enter(&sources, address, 0, &held), 0);
	for (uint64_t i = 0; i < 4 * SOURCES_IDLE; i++) {
		set_ipv6(address, 0x20010db800000000u + i, 1);
		assert_int_equal(sources_enter(&sources, address, 0, &source), 0);
		assert_int_equal(sources_enter(&sources, address, 0, &held), -EUSERS);
		sources_leave(&sources, source);
	}
	assert_int_equal(sources.used, 2);
	set_ipv6(address, 1, 1);
	assert_int_equal(sources_enter(&sources, address, 0, &source), -EUSERS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_per_source),
		cmocka_unit_test(test_ipv6_prefix),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_flood_without_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
