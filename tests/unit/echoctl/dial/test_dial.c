/* SPDX-License-Identifier: MIT */
/* The order in which addresses are tried, literals, and connecting on loopback. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "echoctl/dial/dial.h"
#include "echoctl/probe/interrupt.h"

#define TIMEOUT_US 20000000u

/* One address a letter, carried in its length field; capital letters are IPv6. */
static void check_order(const char *from, const char *to)
{
	struct dial_address addresses[DIAL_ADDRESSES_MAX];
	char order[DIAL_ADDRESSES_MAX + 1] = "";
	size_t n = strlen(from);

	for (size_t i = 0; i < n; i++) {
		bool is_ipv6 = from[i] >= 'A' && from[i] <= 'Z';

		addresses[i] = (struct dial_address){.length = (socklen_t)from[i]};
		addresses[i].address.ss_family = is_ipv6 ? AF_INET6 : AF_INET;
	}
	dial_interleave(addresses, n);
	for (size_t i = 0; i < n; i++)
		order[i] = (char)addresses[i].length;
	assert_string_equal(order, to);
}

static void test_families_alternate(void **state)
{
	(void)state;
	/* Capital letters are IPv6. */
	check_order("", "");
	check_order("a", "a");
	check_order("ABCab", "AaBbC");
	check_order("abcA", "aAbc");
	check_order("abABCD", "aAbBCD");
	check_order("ABC", "ABC");
}

/* A bound socket on loopback; returns it and its port. */
static int bind_somewhere(uint16_t *ret_port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr = {htonl(INADDR_LOOPBACK)},
	};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

/* One that listens. */
static int listen_somewhere(uint16_t *ret_port)
{
	int fd = bind_somewhere(ret_port);

	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

static void test_connects_and_names_the_peer(void **state)
{
	struct dial_options options = {.family = AF_UNSPEC, .timeout_us = TIMEOUT_US};
	struct address_spec target = {.host = "127.0.0.1"};
	char text[ADDRESS_TEXT_MAX];
	struct dial dial;
	int fd = listen_somewhere(&target.port);

	(void)state;
	assert_int_equal(dial_resolve(&target, &options, &dial), 0);
	assert_int_equal(dial.n_addresses, 1);
	assert_int_equal(dial_connect(&options, &dial), 0);
	assert_int_equal(dial.phase, DIAL_DONE);
	assert_true(dial.fd >= 0);
	assert_int_equal(strncmp(dial_peer(&dial, text), "127.0.0.1:", 10), 0);
	close(dial.fd);
	close(fd);
}

static void test_refused_address_gives_way_to_the_next(void **state)
{
	struct dial_options options = {.family = AF_UNSPEC, .timeout_us = TIMEOUT_US};
	struct address_spec target = {.host = "127.0.0.1"};
	struct dial_address good;
	struct dial dial;
	int fd = listen_somewhere(&target.port);

	(void)state;
	assert_int_equal(dial_resolve(&target, &options, &dial), 0);
	good = dial.addresses[0];
	/* No port 0 ever answers. */
	((struct sockaddr_in *)&dial.addresses[0].address)->sin_port = 0;
	dial.addresses[1] = good;
	dial.n_addresses = 2;
	assert_int_equal(dial_connect(&options, &dial), 0);
	assert_int_equal(dial.n_attempts, 2);
	assert_int_equal(dial.winner, 1);
	assert_int_not_equal(dial.attempts[0].error, 0);
	close(dial.fd);
	close(fd);
}

/* A listener whose backlog is full: the kernel answers no further SYN. */
static void test_silent_address_gives_way_after_a_while(void **state)
{
	struct dial_options options = {.family = AF_UNSPEC, .timeout_us = TIMEOUT_US};
	struct address_spec target = {.host = "127.0.0.1"};
	struct dial_address good;
	struct dial dial;
	int good_fd = listen_somewhere(&target.port);
	int silent_fd;
	int fillers[3];
	enum dial_phase phase;

	(void)state;
	assert_int_equal(dial_resolve(&target, &options, &dial), 0);
	good = dial.addresses[0];
	silent_fd = listen_somewhere(&target.port);
	assert_int_equal(listen(silent_fd, 0), 0);
	assert_int_equal(dial_resolve(&target, &options, &dial), 0);
	for (size_t i = 0; i < 3; i++) {
		fillers[i] = dial_start(&dial.addresses[0], &options, &phase);
		assert_true(fillers[i] >= 0);
	}
	dial.addresses[1] = good;
	dial.n_addresses = 2;
	assert_int_equal(dial_connect(&options, &dial), 0);
	assert_int_equal(dial.winner, 1);
	assert_int_equal(dial.attempts[0].error, ECANCELED);
	assert_true(dial.attempts[1].started_ns - dial.attempts[0].started_ns >=
		    DIAL_STAGGER_MS * UINT64_C(1000000));
	for (size_t i = 0; i < 3; i++)
		close(fillers[i]);
	close(dial.fd);
	close(silent_fd);
	close(good_fd);
}

static void test_interrupted(void **state)
{
	struct dial_options options = {.family = AF_UNSPEC, .timeout_us = TIMEOUT_US};
	struct address_spec target = {.host = "127.0.0.1"};
	const struct report report = {0};
	struct dial dial;
	int fd = listen_somewhere(&target.port);

	(void)state;
	assert_int_equal(interrupt_open(&report, 0, true), 0);
	/* one that asks how it stands ends nothing */
	assert_int_equal(raise(SIGQUIT), 0);
	assert_int_equal(dial_resolve(&target, &options, &dial), 0);
	assert_int_equal(dial_connect(&options, &dial), 0);
	assert_true(interrupt_asked());
	assert_false(interrupt_asked());
	close(dial.fd);
	assert_int_equal(raise(SIGINT), 0);
	assert_int_equal(dial_resolve(&target, &options, &dial), 0);
	assert_int_equal(dial_connect(&options, &dial), -EINTR);
	assert_int_equal(dial.fd, -1);
	interrupt_close();
	close(fd);
}

static void test_refused(void **state)
{
	struct dial_options options = {.family = AF_UNSPEC, .timeout_us = TIMEOUT_US};
	struct address_spec target = {.host = "127.0.0.1"};
	struct dial dial;
	int fd = bind_somewhere(&target.port);	/* nobody else can listen there meanwhile */

	(void)state;
	assert_int_equal(dial_resolve(&target, &options, &dial), 0);
	assert_int_equal(dial_connect(&options, &dial), -ECONNREFUSED);
	assert_int_equal(dial.phase, DIAL_CONNECT);
	assert_int_equal(dial.fd, -1);
	assert_int_equal(dial_status(&dial), STATUS_UNREACHED);
	close(fd);
}

static void test_source_of_another_host_is_a_local_error(void **state)
{
	struct dial_options options = {
		.family = AF_UNSPEC,
		.timeout_us = TIMEOUT_US,
		.path = &(struct dial_path){.source = "192.0.2.1"},
	};
	struct address_spec target = {.host = "127.0.0.1", .port = 7};
	struct dial dial;

	(void)state;
	assert_int_equal(dial_resolve(&target, &options, &dial), 0);
	assert_int_equal(dial_connect(&options, &dial), -EADDRNOTAVAIL);
	assert_int_equal(dial.phase, DIAL_SOCKET);
	assert_int_equal(dial_status(&dial), STATUS_LOCAL);
}

static void test_source_of_another_family_hides_no_refusal(void **state)
{
	struct dial_options options = {
		.family = AF_UNSPEC,
		.timeout_us = TIMEOUT_US,
		.path = &(struct dial_path){.source = "127.0.0.1"},
	};
	struct address_spec target = {.host = "127.0.0.1"};
	struct dial dial;

	(void)state;
	close(listen_somewhere(&target.port));
	assert_int_equal(dial_resolve(&target, &options, &dial), 0);
	dial.addresses[1].address.ss_family = AF_INET6;
	dial.addresses[1].length = sizeof(struct sockaddr_in6);
	dial.n_addresses = 2;
	assert_true(dial_connect(&options, &dial) < 0);
	assert_int_equal(dial.attempts[1].phase, DIAL_SOCKET);
	assert_int_equal(dial_status(&dial), STATUS_UNREACHED);
}

static void test_resolver_without_descriptors_is_a_local_error(void **state)
{
	struct dial_options options = {.family = AF_UNSPEC, .timeout_us = TIMEOUT_US};
	struct address_spec target = {.host = "host.invalid", .port = 7};
	struct rlimit before;
	struct rlimit none;
	struct dial dial;
	int r;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	r = dial_resolve(&target, &options, &dial);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(r, -EMFILE);
	assert_int_equal(dial.phase, DIAL_RESOLVE);
	assert_int_equal(dial_status(&dial), STATUS_LOCAL);
}

static void test_private(void **state)
{
	static const struct {
		const char *host;
		bool is_private;
	} cases[] = {
		{"127.0.0.1", true}, {"127.9.9.9", true}, {"::1", true}, {"10.1.2.3", true},
		{"172.16.0.1", true}, {"172.31.255.255", true}, {"192.168.1.1", true},
		{"169.254.0.1", true}, {"fd00::1", true}, {"fe80::1", true},
		{"::ffff:10.0.0.1", true}, {"172.32.0.0", false}, {"192.0.2.7", false},
		{"2001:db8::1", false}, {"::ffff:192.0.2.7", false}, {"::", false},
	};
	struct dial_options options = {.timeout_us = TIMEOUT_US};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct address_spec target = {.port = 7};
		struct dial dial;

		strcpy(target.host, cases[i].host);
		assert_int_equal(dial_resolve(&target, &options, &dial), 0);
		assert_int_equal(dial_is_private(&dial.addresses[0]), cases[i].is_private);
	}
	assert_true(dial_is_private(&(struct dial_address){.address.ss_family = AF_UNIX}));
}

static void test_family_without_address(void **state)
{
	struct dial_options options = {.family = AF_INET6, .timeout_us = TIMEOUT_US};
	struct address_spec target = {.host = "127.0.0.1", .port = 7};
	struct dial dial;

	(void)state;
	assert_true(dial_resolve(&target, &options, &dial) < 0);
	assert_int_equal(dial.phase, DIAL_RESOLVE);
	assert_non_null(dial.why);
	assert_int_equal(dial_status(&dial), STATUS_UNREACHED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_families_alternate),
		cmocka_unit_test(test_connects_and_names_the_peer),
		cmocka_unit_test(test_refused_address_gives_way_to_the_next),
		cmocka_unit_test(test_silent_address_gives_way_after_a_while),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_source_of_another_host_is_a_local_error),
		cmocka_unit_test(test_source_of_another_family_hides_no_refusal),
		cmocka_unit_test(test_resolver_without_descriptors_is_a_local_error),
		cmocka_unit_test(test_private),
		cmocka_unit_test(test_family_without_address),
		cmocka_unit_test(test_interrupted),	/* the last: it stays so */
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
