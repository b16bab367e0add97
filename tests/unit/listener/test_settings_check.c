/* SPDX-License-Identifier: MIT */
/* The settings block: every bound is checked; and the rules that travel in it decide. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/endpoint.h"
#include "wire/settings.h"

struct block {
	struct settings settings;
	struct settings_socket socket;
	struct settings_rule rules[3];
	struct settings_rule exempt[1];
	struct settings_rule trust[1];
	uint64_t filter[2];
};

static struct block good(void)
{
	struct block block;

	memset(&block, 0, sizeof(block));
	block.settings = (struct settings){
		.magic = SETTINGS_MAGIC,
		.version = WIRE_VERSION,
		.size_bytes = sizeof(block),
		.flags = SETTINGS_FILTER | SETTINGS_WORKER_FILTER,
		.connections = 8,
		.source_prefix_ipv4 = 32,
		.source_prefix_ipv6 = 64,
		.access_default_allow = 1,
		.socket_count = 1,
		.rule_count = 3,
		.filter_count = 1,
		.worker_filter_count = 1,
		.exempt_count = 1,
		.trust_count = 1,
	};
	block.socket.family = ENDPOINT_INET;
	block.rules[0].bits = 128;
	block.rules[1].bits = 64;
	block.rules[1].allow = 1;
	return block;
}

static void check(const struct block *block, size_t size, const char *expected)
{
	const char *why = NULL;

	assert_int_equal(settings_check(block, size, &why), expected == NULL ? 0 : -EINVAL);
	if (expected != NULL)
		assert_string_equal(why, expected);
	else
		assert_null(why);
	assert_int_equal(settings_check(block, size, NULL), expected == NULL ? 0 : -EINVAL);
}

static void test_good(void **state)
{
	struct block block = good();

	(void)state;
	check(&block, sizeof(block), NULL);
	assert_ptr_equal(settings_sockets(&block.settings), &block.socket);
	assert_ptr_equal(settings_rules(&block.settings), block.rules);
	assert_ptr_equal(settings_exempt(&block.settings), block.exempt);
	assert_ptr_equal(settings_trust(&block.settings), block.trust);
	assert_ptr_equal(settings_filter(&block.settings), &block.filter[0]);
	assert_ptr_equal(settings_worker_filter(&block.settings), &block.filter[1]);
}

static void test_size(void **state)
{
	struct block block = good();

	(void)state;
	check(&block, 0, "settings block too short");
	check(&block, sizeof(block.settings) - 1, "settings block too short");
	check(&block, sizeof(block) - 1, "size of the block");
	block.settings.size_bytes = sizeof(block.settings);
	check(&block, sizeof(block.settings), "size of the tables");
}

#define BAD(member, value, text) \
	do { \
		struct block block = good(); \
		block.member = (value); \
		check(&block, sizeof(block), (text)); \
	} while (0)

static void test_bounds(void **state)
{
	(void)state;
	BAD(settings.magic, 0, "not a settings block");
	BAD(settings.version, WIRE_VERSION + 1, "settings of another version");
	BAD(settings.flags, 1u << 31, "unknown flag");
	BAD(settings.mode, 2, "unknown mode");
	BAD(settings.at_limit, 2, "unknown mode");
	BAD(settings.connections, 0, "connections out of range");
	BAD(settings.connections, UINT32_MAX, "connections out of range");
	BAD(settings.source_prefix_ipv4, 33, "source prefix out of range");
	BAD(settings.source_prefix_ipv6, 129, "source prefix out of range");
	BAD(settings.rate_per_source, 1, "rate without a burst");
	BAD(settings.datagram_rate_per_source, 1, "rate without a burst");
	BAD(settings.datagram_filter_count, UINT32_MAX, "length of a filter");
	BAD(settings.datagram_filter_count, 1, "size of the tables");
	BAD(settings.session_us, UINT64_MAX, "timeout out of range");
	BAD(settings.socket_count, 0, "number of sockets");
	BAD(settings.socket_count, UINT32_MAX, "number of sockets");
	BAD(settings.rule_count, UINT32_MAX, "number of rules");
	BAD(settings.rule_count, 2, "size of the tables");
	BAD(settings.exempt_count, UINT32_MAX, "number of rules");
	BAD(settings.exempt_count, 0, "size of the tables");
	BAD(settings.trust_count, UINT32_MAX, "number of rules");
	BAD(settings.trust_count, 0, "size of the tables");
	BAD(settings.proxy_timeout_us, UINT64_MAX, "timeout out of range");
	BAD(settings.filter_count, UINT32_MAX, "length of a filter");
	BAD(settings.filter_count, 0, "empty filter");
	BAD(settings.worker_filter_count, 0, "empty filter");
	BAD(socket.family, 0, "socket of an unknown kind");
	BAD(socket.wildcard, 2, "socket of an unknown kind");
	BAD(socket.type, 2, "socket of an unknown kind");
	BAD(socket.closed, 2, "socket of an unknown kind");
	BAD(rules[0].bits, 129, "rule out of range");
	BAD(rules[0].allow, 2, "rule out of range");
	BAD(exempt[0].bits, 129, "rule out of range");
	BAD(trust[0].bits, 129, "rule out of range");
	BAD(rules[2].bits, 65, "rules are not sorted");
}

static void set_rule(struct settings_rule *rule, uint8_t first, uint8_t bits, uint8_t allow)
{
	rule->prefix[0] = first;
	rule->bits = bits;
	rule->allow = allow;
}

static void test_rules(void **state)
{
	struct block block = good();
	uint8_t address[16] = { 0x20 };

	(void)state;
	set_rule(&block.rules[0], 0x20, 8, 0);
	set_rule(&block.rules[1], 0x20, 8, 1);
	set_rule(&block.rules[2], 0x20, 4, 1);
	assert_false(settings_allow(&block.settings, address));
	address[0] = 0x21;
	block.settings.access_default_allow = 0;
	assert_true(settings_allow(&block.settings, address));
	address[0] = 0x30;
	assert_false(settings_allow(&block.settings, address));
	block.settings.access_default_allow = 1;
	assert_true(settings_allow(&block.settings, address));
}

static void test_exempt(void **state)
{
	struct block block = good();
	uint8_t address[16] = { 0x20 };

	(void)state;
	set_rule(&block.exempt[0], 0x20, 8, 1);
	assert_true(settings_is_exempt(&block.settings, address));
	address[0] = 0x21;
	assert_false(settings_is_exempt(&block.settings, address));
	address[0] = 0x20;
	block.settings.exempt_count = 0;
	assert_false(settings_is_exempt(&block.settings, address));
}

static void test_trust(void **state)
{
	struct block block = good();
	struct endpoint peer = { .family = ENDPOINT_INET6, .address = { 0x20 } };

	(void)state;
	set_rule(&block.trust[0], 0x20, 8, 1);
	assert_true(settings_trusts(&block.settings, &peer));
	peer.address[0] = 0x21;
	assert_false(settings_trusts(&block.settings, &peer));
	peer.family = ENDPOINT_UNIX;
	assert_false(settings_trusts(&block.settings, &peer));
	block.settings.flags |= SETTINGS_TRUST_UNIX;
	assert_true(settings_trusts(&block.settings, &peer));
	peer.family = ENDPOINT_NONE;
	assert_false(settings_trusts(&block.settings, &peer));
}

static void test_address(void **state)
{
	struct endpoint peer = { .family = ENDPOINT_INET, .address = { 192, 0, 2, 7 } };
	const uint8_t mapped[16] = { [10] = 0xff, 0xff, 192, 0, 2, 7 };
	uint8_t address[16];

	(void)state;
	assert_true(endpoint_address(&peer, address));
	assert_memory_equal(address, mapped, sizeof(mapped));
	peer.family = ENDPOINT_INET6;
	assert_true(endpoint_address(&peer, address));
	assert_memory_equal(address, peer.address, sizeof(address));
	peer.family = ENDPOINT_UNIX;
	assert_false(endpoint_address(&peer, address));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),   cmocka_unit_test(test_size),
		cmocka_unit_test(test_bounds), cmocka_unit_test(test_rules),
		cmocka_unit_test(test_exempt), cmocka_unit_test(test_trust),
		cmocka_unit_test(test_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
