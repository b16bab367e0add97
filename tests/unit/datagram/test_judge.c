/* SPDX-License-Identifier: MIT */
/* Which datagrams get an answer, and for which reason the others do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "base/clock.h"
#include "datagram/datagram.h"

#define NOW_NS (1000ull * CLOCK_NS_PER_S)

/* A block with two sockets and a rule, as it crosses the border. */
struct block {
	struct settings settings;
	struct settings_socket sockets[2];
	struct settings_rule rule;
};

static struct block block;
static struct judge *judge;

static int set_up(void **state)
{
	(void)state;
	block = (struct block){
		.settings = { .socket_count = 2, .rule_count = 1, .access_default_allow = 1,
			      .source_prefix_ipv4 = 32, .source_prefix_ipv6 = 64,
			      .datagram_min_source_port = 1024 },
		.sockets = { { .type = SETTINGS_STREAM, .port = 3000 },
			     { .type = SETTINGS_DATAGRAM, .port = 2007 } },
		/* 192.0.2.128/25 is denied */
		.rule = { .prefix = { [10] = 0xff, 0xff, 192, 0, 2, 128 }, .bits = 96 + 25 },
	};
	judge = calloc(1, sizeof(*judge));
	return judge ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	free(judge);
	return 0;
}

static struct reception from(const char *address, uint16_t port)
{
	struct reception reception = { .peer = { .family = ENDPOINT_INET, .port = port },
				       .is_unicast = true, .address = { [10] = 0xff, 0xff } };

	assert_int_equal(inet_pton(AF_INET, address, reception.address + 12), 1);
	return reception;
}

/* How many of count pass; those that do not are dropped for reason. */
static uint32_t pass(const struct reception *reception, uint32_t count, uint64_t now_ns,
		     enum drop_reason reason)
{
	enum drop_reason found = DROP_COUNT;
	uint32_t passed = judge_datagrams(judge, &block.sockets[1], reception, count, now_ns,
					  &found);

	if (passed < count)
		assert_int_equal(found, reason);
	return passed;
}

static void test_ports(void **state)
{
	const struct { uint16_t port; uint32_t passes; } cases[] = {
		{ 0, 0 }, { 7, 0 }, { 19, 0 }, { 1023, 0 }, { 1024, 1 }, { 2007, 0 },
		{ 3000, 1 },	/* a port of TCP is no port of ours */
		{ 65535, 1 },
	};

	(void)state;
	judge_init(judge, &block.settings, 1, NOW_NS);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct reception reception = from("192.0.2.1", cases[i].port);

		assert_int_equal(pass(&reception, 1, NOW_NS, DROP_PORT), cases[i].passes);
	}
	block.settings.datagram_min_source_port = 0;
	for (size_t i = 0; i < 4; i++) {
		struct reception reception = from("192.0.2.1", cases[i].port);

		/* nobody can be answered at port 0 */
		assert_int_equal(pass(&reception, 1, NOW_NS, DROP_PORT), i > 0);
	}
}

/* A datagram with several faults is dropped for the first of them. */
static void test_order(void **state)
{
	struct reception reception = from("192.0.2.200", 7);

	(void)state;
	reception.is_unicast = false;
	judge_init(judge, &block.settings, 1, NOW_NS);
	assert_int_equal(pass(&reception, 1, NOW_NS, DROP_PORT), 0);
	reception.peer.port = 4000;
	assert_int_equal(pass(&reception, 1, NOW_NS, DROP_BROADCAST), 0);
	reception.is_unicast = true;
	assert_int_equal(pass(&reception, 1, NOW_NS, DROP_ACCESS), 0);
	reception = from("192.0.2.1", 4000);
	assert_int_equal(pass(&reception, 1, NOW_NS, DROP_ACCESS), 1);
	block.sockets[1].closed = 1;
	assert_int_equal(pass(&reception, 1, NOW_NS, DROP_ACCESS), 0);
}

static void test_rates(void **state)
{
	const struct reception one = from("192.0.2.1", 4000), other = from("192.0.2.2", 4000);

	(void)state;
	block.settings.datagram_rate_per_source = 10;
	block.settings.datagram_rate_burst = 5;
	block.settings.datagram_rate = 8;
	judge_init(judge, &block.settings, 1, NOW_NS);
	/* of a merged one the first pieces pass */
	assert_int_equal(pass(&one, 40, NOW_NS, DROP_PER_SOURCE), 5);
	assert_int_equal(pass(&one, 1, NOW_NS, DROP_PER_SOURCE), 0);
	assert_int_equal(pass(&other, 4, NOW_NS, DROP_RATE), 3);
	assert_int_equal(pass(&other, 1, NOW_NS, DROP_RATE), 0);
	/* 0.1 s later a source has one more, and all together none of the second's eight */
	assert_int_equal(pass(&one, 2, NOW_NS + CLOCK_NS_PER_S / 10, DROP_RATE), 0);
	assert_int_equal(pass(&other, 1, NOW_NS + CLOCK_NS_PER_S, DROP_RATE), 1);
}

/* The rate of all bounds what sources together get, and names itself. */
static void test_rate_of_all(void **state)
{
	const struct reception one = from("192.0.2.1", 4000), other = from("192.0.2.2", 4000);
	const struct reception third = from("192.0.2.3", 4000);

	(void)state;
	block.settings.datagram_rate_per_source = 10;
	block.settings.datagram_rate_burst = 5;
	block.settings.datagram_rate = 8;
	judge_init(judge, &block.settings, 1, NOW_NS);
	assert_int_equal(pass(&one, 5, NOW_NS, DROP_RATE), 5);
	assert_int_equal(pass(&other, 5, NOW_NS, DROP_RATE), 3);
	assert_int_equal(pass(&third, 1, NOW_NS, DROP_RATE), 0);
	/* a second later all eight are back, and no more */
	assert_int_equal(pass(&one, 5, NOW_NS + CLOCK_NS_PER_S, DROP_RATE), 5);
	assert_int_equal(pass(&other, 5, NOW_NS + CLOCK_NS_PER_S, DROP_RATE), 3);
}

static struct reception from_ipv6(const char *address)
{
	struct reception reception = { .peer = { .family = ENDPOINT_INET6, .port = 4000 },
				       .is_unicast = true };

	assert_int_equal(inet_pton(AF_INET6, address, reception.address), 1);
	return reception;
}

/* A source is a prefix, of both families, as limits { source-prefix-... } say. */
static void test_prefixes(void **state)
{
	const struct reception first = from("192.0.2.1", 4000), same = from("192.0.2.127", 4001);
	const struct reception other = from("192.0.3.1", 4000);
	const struct reception first6 = from_ipv6("2001:db8::1"), same6 = from_ipv6("2001:db8::2");
	const struct reception other6 = from_ipv6("2001:db8:0:1::1");

	(void)state;
	block.settings.source_prefix_ipv4 = 24;
	block.settings.datagram_rate_per_source = 1;
	block.settings.datagram_rate_burst = 1;
	judge_init(judge, &block.settings, 1, NOW_NS);
	assert_int_equal(pass(&first, 1, NOW_NS, DROP_PER_SOURCE), 1);
	assert_int_equal(pass(&same, 1, NOW_NS, DROP_PER_SOURCE), 0);
	assert_int_equal(pass(&other, 1, NOW_NS, DROP_PER_SOURCE), 1);
	assert_int_equal(pass(&first6, 1, NOW_NS, DROP_PER_SOURCE), 1);
	assert_int_equal(pass(&same6, 1, NOW_NS, DROP_PER_SOURCE), 0);
	assert_int_equal(pass(&other6, 1, NOW_NS, DROP_PER_SOURCE), 1);
}

static void *find_source(const struct reception *reception)
{
	for (size_t i = 0; i < JUDGE_ROWS; i++) {
		for (size_t j = 0; j < JUDGE_WAYS; j++) {
			if (memcmp(judge->sources[i][j].key, reception->address, 16) == 0)
				return judge->sources[i];
		}
	}
	return NULL;
}

/* No peer can predict its row: the same sources have others with another seed. */
static void test_seed(void **state)
{
	void *rows[2][16];

	(void)state;
	block.settings.datagram_rate_per_source = 1;
	block.settings.datagram_rate_burst = 1;
	for (size_t seed = 0; seed < 2; seed++) {
		memset(judge, 0, sizeof(*judge));
		judge_init(judge, &block.settings, 0x123456789abcdefu * (seed + 1), NOW_NS);
		for (uint16_t i = 0; i < 16; i++) {
			struct reception reception = from("192.0.2.1", 4000);

			reception.address[15] = (uint8_t)(i + 1);
			assert_int_equal(pass(&reception, 1, NOW_NS, DROP_PER_SOURCE), 1);
			rows[seed][i] = find_source(&reception);
			assert_non_null(rows[seed][i]);
		}
	}
	assert_memory_not_equal(rows[0], rows[1], sizeof(rows[0]));
}

/* Sources without number: the one that is held back stays so, and nothing grows. */
static void test_flood(void **state)
{
	struct reception loud = from("192.0.2.1", 4000);

	(void)state;
	block.settings.datagram_rate_per_source = 1;
	block.settings.datagram_rate_burst = 2;
	judge_init(judge, &block.settings, 1, NOW_NS);
	assert_int_equal(pass(&loud, 5, NOW_NS, DROP_PER_SOURCE), 2);
	for (uint32_t i = 0; i < 100000; i++) {
		struct reception reception = loud;
		uint32_t address = htonl(0x0a000000 + i);

		memcpy(reception.address + 12, &address, sizeof(address));
		assert_int_equal(pass(&reception, 1, NOW_NS, DROP_PER_SOURCE), 1);
	}
	assert_int_equal(pass(&loud, 1, NOW_NS, DROP_PER_SOURCE), 0);
}

/* Neighbours in one network do not drive each other out of the table. */
static void test_neighbours(void **state)
{
	struct reception sources[256];

	(void)state;
	block.settings.datagram_rate_per_source = 1;
	block.settings.datagram_rate_burst = 2;
	judge_init(judge, &block.settings, 1, NOW_NS);
	for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
		sources[i] = from("198.51.100.0", 4000);
		sources[i].address[15] = (uint8_t)i;
		assert_int_equal(pass(&sources[i], 5, NOW_NS, DROP_PER_SOURCE), 2);
	}
	for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++)
		assert_int_equal(pass(&sources[i], 1, NOW_NS, DROP_PER_SOURCE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ports, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rates, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rate_of_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_prefixes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_seed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_flood, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_neighbours, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
