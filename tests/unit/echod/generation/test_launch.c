/* SPDX-License-Identifier: MIT */
/* The settings block that echod writes is one that the listener's check accepts, value by value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/fd.h"
#include "echod/generation/launch.h"
#include "wire/endpoint.h"

static const struct filter no_filters[FILTER_PLACES];
static struct listening_socket socket_v4 = {
	.wire = { .family = ENDPOINT_INET, .port = 7007, .address = { 127, 0, 0, 1 } },
};
static const struct sockets sockets = { .items = &socket_v4, .count = 1 };

static struct generation_plan plan = { .sockets = &sockets };

static struct settings *block_map(int fd)
{
	struct stat status;
	void *block;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &status), 0);
	block = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(block != MAP_FAILED);
	assert_int_equal(settings_check(block, (size_t)status.st_size, NULL), 0);
	fd_close(fd);
	return block;
}

static void test_defaults(void **state)
{
	struct configuration *configuration = NULL;
	struct settings *block;

	(void)state;
	assert_int_equal(configuration_default(&configuration), 0);
	plan.configuration = configuration;
	block = block_map(settings_block_write(&plan, no_filters));
	assert_int_equal(block->flags, SETTINGS_TOS_MIRROR);
	assert_int_equal(block->datagram_rate_per_source, 10000);
	assert_int_equal(block->datagram_min_source_port, 1024);
	assert_int_equal(block->connections, 1024);
	assert_int_equal(block->idle_us, 600000000);
	assert_int_equal(block->access_default_allow, 1);
	assert_int_equal(block->socket_count, 1);
	assert_int_equal(block->proxy_timeout_us, 0);
	assert_memory_equal(settings_sockets(block), &socket_v4.wire, sizeof(socket_v4.wire));
	munmap(block, block->size_bytes);
	configuration_free(configuration);
}

static void test_rules_are_sorted(void **state)
{
	struct cidr allow[2], deny[2], trust[2] = { { .bits = TRUST_UNIX } };
	struct configuration *configuration = NULL;
	const struct settings_rule *rules;
	struct settings *block;

	(void)state;
	assert_int_equal(configuration_default(&configuration), 0);
	assert_int_equal(cidr_parse("192.0.2.0/24", &allow[0], NULL), 0);
	assert_int_equal(cidr_parse("2001:db8::1", &allow[1], NULL), 0);
	assert_int_equal(cidr_parse("192.0.2.7", &deny[0], NULL), 0);
	assert_int_equal(cidr_parse("192.0.2.0/24", &deny[1], NULL), 0);
	assert_int_equal(cidr_parse("192.0.2.10", &trust[1], NULL), 0);
	configuration->access.allow = allow;
	configuration->access.allow_count = 2;
	configuration->access.deny = deny;
	configuration->access.deny_count = 2;
	configuration->limits.exempt = allow;
	configuration->limits.exempt_count = 1;
	configuration->proxy.trust = trust;
	configuration->proxy.trust_count = 2;
	plan.configuration = configuration;
	block = block_map(settings_block_write(&plan, no_filters));
	rules = settings_rules(block);
	assert_int_equal(block->access_default_allow, 0);
	assert_int_equal(block->rule_count, 4);
	for (unsigned i = 1; i < 4; i++)
		assert_true(rules[i - 1].bits >= rules[i].bits);
	/* The same prefix allowed and denied: denied. */
	assert_int_equal(rules[2].bits, 96 + 24);
	assert_int_equal(rules[2].allow, 0);
	assert_int_equal(rules[3].allow, 1);
	assert_int_equal(block->exempt_count, 1);
	assert_memory_equal(settings_exempt(block)->prefix, allow[0].prefix, 16);
	assert_int_equal(settings_exempt(block)->bits, allow[0].bits);
	assert_int_equal(block->flags, SETTINGS_TOS_MIRROR | SETTINGS_TRUST_UNIX);
	assert_int_equal(block->trust_count, 1);
	assert_memory_equal(settings_trust(block)->prefix, trust[1].prefix, 16);
	assert_int_equal(block->proxy_timeout_us, 5000000);
	munmap(block, block->size_bytes);
	configuration->access.allow = configuration->access.deny = NULL;
	configuration->limits.exempt = configuration->proxy.trust = NULL;
	configuration->access.allow_count = configuration->access.deny_count = 0;
	configuration_free(configuration);
}

static void test_filters(void **state)
{
	struct configuration *configuration = NULL;
	static struct filter filters[FILTER_PLACES];
	const struct filter *listener = &filters[FILTER_OF_LISTENER],
			    *worker = &filters[FILTER_OF_WORKER],
			    *datagram = &filters[FILTER_OF_DATAGRAM];
	struct settings *block;

	(void)state;
	assert_int_equal(configuration_default(&configuration), 0);
	configuration->sandbox = SANDBOX_STRICT;
	assert_int_equal(filter_compile(FILTER_LISTENER, &filters[FILTER_OF_LISTENER]), 0);
	assert_int_equal(filter_compile(FILTER_WORKER, &filters[FILTER_OF_WORKER]), 0);
	assert_int_equal(filter_compile(FILTER_DATAGRAM, &filters[FILTER_OF_DATAGRAM]), 0);
	assert_true(worker->count > 0 && worker->count <= listener->count);
	plan.configuration = configuration;
	plan.mode = MODE_SINGLE;
	block = block_map(settings_block_write(&plan, filters));
	assert_int_equal(block->flags, SETTINGS_FILTER | SETTINGS_FILTER_REQUIRED |
					       SETTINGS_WORKER_FILTER | SETTINGS_TOS_MIRROR);
	assert_int_equal(block->connections, 1);
	assert_int_equal(block->filter_count, listener->count);
	assert_memory_equal(settings_filter(block), listener->instructions, listener->count * 8);
	assert_memory_equal(settings_worker_filter(block), worker->instructions, worker->count * 8);
	assert_memory_equal(settings_datagram_filter(block), datagram->instructions,
			    datagram->count * 8);
	munmap(block, block->size_bytes);
	configuration_free(configuration);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_rules_are_sorted),
		cmocka_unit_test(test_filters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
