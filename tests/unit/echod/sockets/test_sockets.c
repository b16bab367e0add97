/* SPDX-License-Identifier: MIT */
/* Listening sockets, really bound on loopback. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "echod/sockets/sockets.h"
#include "unit/capture.h"
#include "unit/listening.h"
#include "wire/endpoint.h"

static int get_option(int fd, int level, int option)
{
	int value = -1;
	socklen_t length = sizeof(value);

	assert_return_code(getsockopt(fd, level, option, &value, &length), 0);
	return value;
}

static bool has_ipv6(void)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool has = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

	if (fd >= 0)
		close(fd);
	return has;
}

static void assert_listening(const struct listening_socket *item)
{
	assert_int_equal(get_option(item->fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
	assert_int_equal(get_option(item->fd, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
	assert_true(fcntl(item->fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(item->fd, F_GETFL) & O_NONBLOCK);
}

/* A connected pair over the socket: *ret_accepted is the daemon's side. */
static int connect_to(const struct listening_socket *item, int *ret_accepted)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	int fd;

	assert_return_code(getsockname(item->fd, (struct sockaddr *)&address, &length), 0);
	fd = socket(address.ss_family, SOCK_STREAM, 0);
	assert_return_code(connect(fd, (struct sockaddr *)&address, length), 0);
	*ret_accepted = accept(item->fd, NULL, NULL);
	assert_true(*ret_accepted >= 0);
	return fd;
}

static void test_ipv4_port_0(void **state)
{
	struct fixture *fixture = *state;
	struct listening_socket *item;
	char expected[64];

	listening_add(fixture, "127.0.0.1:0");
	assert_int_equal(listening_bind(fixture), 0);
	assert_int_equal(fixture->sockets.count, 1);
	assert_false(fixture->sockets.passed);
	item = fixture->sockets.items;
	assert_listening(item);
	assert_int_equal(item->wire.family, ENDPOINT_INET);
	assert_int_equal(item->wire.wildcard, 0);
	assert_true(item->wire.port > 0);
	snprintf(expected, sizeof(expected), "127.0.0.1:%u", item->wire.port);
	assert_string_equal(item->text, expected);
	assert_true(item->is_any_port);
	assert_null(item->unix_path);
	assert_memory_equal(item->wire.address, "\x7f\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 16);
}

static void test_localhost(void **state)
{
	struct fixture *fixture = *state;

	listening_add(fixture, "localhost:0");
	assert_int_equal(listening_bind(fixture), 0);
	assert_int_equal(fixture->sockets.count, has_ipv6() ? 2 : 1);
	assert_int_equal(fixture->sockets.items[0].wire.family, ENDPOINT_INET);
	assert_int_equal(strncmp(fixture->sockets.items[0].text, "127.0.0.1:", 10), 0);
	if (!has_ipv6())
		return;
	assert_int_equal(fixture->sockets.items[1].wire.family, ENDPOINT_INET6);
	assert_int_equal(strncmp(fixture->sockets.items[1].text, "[::1]:", 6), 0);
	assert_int_equal(get_option(fixture->sockets.items[1].fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
	assert_int_not_equal(fixture->sockets.items[1].wire.port, 0);
}

static int connect_to_ipv4(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int r = connect(fd, (struct sockaddr *)&address, sizeof(address));

	close(fd);
	return r;
}

/* One socket takes both families; each peer is seen by its own. */
static void test_wildcard(void **state)
{
	struct fixture *fixture = *state;

	listening_add(fixture, "*:0");
	assert_int_equal(listening_bind(fixture), 0);
	assert_int_equal(fixture->sockets.count, 1);
	assert_int_equal(fixture->sockets.items[0].wire.wildcard, 1);
	assert_int_equal(fixture->sockets.items[0].wire.family,
			 has_ipv6() ? ENDPOINT_INET6 : ENDPOINT_INET);
	assert_int_equal(connect_to_ipv4(fixture->sockets.items[0].wire.port), 0);
}

static void listen_only(struct fixture *fixture, const char *text)
{
	listening_forget(fixture);
	listening_add(fixture, text);
}

static void rebind(struct fixture *fixture)
{
	struct sockets next;

	assert_int_equal(sockets_bind(&fixture->configuration, &fixture->sockets, &next), 0);
	sockets_release(&fixture->sockets, &fixture->sockets);
	fixture->sockets = next;
}

/* Binds a port that neither family uses, and returns it. */
static uint16_t bind_both(struct fixture *fixture)
{
	listening_add(fixture, "*:0");
	assert_int_equal(listening_bind(fixture), 0);
	return fixture->sockets.items[0].wire.port;
}

/* [::] and * have one address, and are not the same. */
static void test_ipv6_alone(void **state)
{
	struct fixture *fixture = *state;
	char alone[16], both[16];
	struct sockets next;
	uint16_t port;

	if (!has_ipv6())
		skip();
	port = bind_both(fixture);
	sockets_release(&fixture->sockets, &fixture->sockets);
	snprintf(alone, sizeof(alone), "[::]:%u", port);
	snprintf(both, sizeof(both), "*:%u", port);

	listen_only(fixture, alone);
	assert_int_equal(listening_bind(fixture), 0);
	assert_int_equal(connect_to_ipv4(port), -1);

	listen_only(fixture, both);
	rebind(fixture);
	assert_int_equal(connect_to_ipv4(port), 0);
	sockets_release(&fixture->sockets, &fixture->sockets);

	listen_only(fixture, alone);
	listening_add(fixture, both);
	assert_int_equal(listening_bind(fixture), 0);
	assert_int_equal(connect_to_ipv4(port), 0);
	sockets_release(&fixture->sockets, &fixture->sockets);

	listen_only(fixture, both);
	assert_int_equal(listening_bind(fixture), 0);
	listen_only(fixture, alone);
	assert_int_equal(sockets_bind(&fixture->configuration, &fixture->sockets, &next),
			 -EADDRINUSE);
}

/* Whatever of a wildcard is bound already stays, whether the families stand apart or not. */
static void test_wildcard_again(void **state)
{
	static const char *const before[] = {"0.0.0.0", "*", "[::]"};
	struct fixture *fixture = *state;
	char text[16];
	uint16_t port;

	if (!has_ipv6())
		skip();
	port = bind_both(fixture);
	rebind(fixture);
	assert_int_equal(fixture->sockets.count, 1);
	assert_int_equal(fixture->sockets.items[0].wire.port, port);
	sockets_release(&fixture->sockets, &fixture->sockets);
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		snprintf(text, sizeof(text), "%s:%u", before[i], port);
		listen_only(fixture, text);
		assert_int_equal(listening_bind(fixture), 0);
		snprintf(text, sizeof(text), "*:%u", port);
		listening_add(fixture, text);
		rebind(fixture);
		assert_int_equal(fixture->sockets.count, before[i][0] == '*' ? 1 : 2);
		listen_only(fixture, text);
		rebind(fixture);
		assert_int_equal(connect_to_ipv4(port), 0);
		sockets_release(&fixture->sockets, &fixture->sockets);
	}
}

/* Ports that were chosen for a wildcard and for IPv4 alone are not mixed up. */
static void test_wildcard_any_port(void **state)
{
	struct fixture *fixture = *state;
	uint16_t ports[2];

	listening_add(fixture, "0.0.0.0:0");
	listening_add(fixture, "*:0");
	assert_int_equal(listening_bind(fixture), 0);
	assert_int_equal(fixture->sockets.count, 2);
	for (int i = 0; i < 2; i++)
		ports[i] = fixture->sockets.items[i].wire.port;
	rebind(fixture);
	assert_int_equal(fixture->sockets.count, 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(fixture->sockets.items[i].wire.port, ports[i]);
}

/* IPv4 comes with the IPv6 socket of the wildcard, in whatever order the two stand. */
static void test_wildcard_with_ipv4(void **state)
{
	struct fixture *fixture = *state;
	char inet[16], both[16];

	listening_add(fixture, "*:0");
	assert_int_equal(listening_bind(fixture), 0);
	snprintf(inet, sizeof(inet), "0.0.0.0:%u", fixture->sockets.items[0].wire.port);
	snprintf(both, sizeof(both), "*:%u", fixture->sockets.items[0].wire.port);
	sockets_release(&fixture->sockets, &fixture->sockets);
	listen_only(fixture, both);
	listening_add(fixture, inet);
	assert_int_equal(listening_bind(fixture), 0);
	assert_int_equal(fixture->sockets.count, 1);
	sockets_release(&fixture->sockets, &fixture->sockets);
	listen_only(fixture, inet);
	listening_add(fixture, both);
	assert_int_equal(listening_bind(fixture), 0);
	assert_int_equal(fixture->sockets.count, has_ipv6() ? 2 : 1);
}

static void test_unix(void **state)
{
	struct fixture *fixture = *state;
	char path[128], text[140];
	struct stat status;
	int fd, accepted;

	snprintf(path, sizeof(path), "%s/echo", fixture->capture.folder);
	snprintf(text, sizeof(text), "unix:%s", path);
	listening_add(fixture, text);
	assert_int_equal(listening_bind(fixture), 0);
	assert_listening(fixture->sockets.items);
	assert_string_equal(fixture->sockets.items[0].text, text);
	assert_string_equal(fixture->sockets.items[0].unix_path, path);
	assert_int_equal(fixture->sockets.items[0].wire.family, ENDPOINT_UNIX);
	assert_return_code(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0666);
	fd = connect_to(fixture->sockets.items, &accepted);
	close(fd);
	close(accepted);
	sockets_release(&fixture->sockets, NULL);
	assert_int_equal(stat(path, &status), -1);
}

/* A file whose listener is gone is replaced; one with a listener, or no socket at all, is not. */
static void test_unix_stale(void **state)
{
	struct fixture *fixture = *state;
	struct sockets first;
	char path[128], text[140], expected[400];
	int fd;

	snprintf(path, sizeof(path), "%s/echo", fixture->capture.folder);
	snprintf(text, sizeof(text), "unix:%s", path);
	snprintf(expected, sizeof(expected), "%s: bind: Address already in use", text);
	listening_add(fixture, text);
	assert_int_equal(sockets_bind(&fixture->configuration, NULL, &first), 0);
	assert_int_equal(listening_bind(fixture), -EADDRINUSE);
	assert_string_equal(capture_line(&fixture->capture, NULL), expected);
	sockets_release(&first, &first);
	assert_int_equal(listening_bind(fixture), 0);
	sockets_release(&fixture->sockets, NULL);

	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(listening_bind(fixture), -EADDRINUSE);
	assert_string_equal(capture_line(&fixture->capture, NULL), expected);
	assert_return_code(unlink(path), 0);
}

static void test_errors(void **state)
{
	struct fixture *fixture = *state;
	char text[ADDRESS_TEXT_MAX], expected[400];
	struct sockets first;
	const char *line;

	listening_add(fixture, "127.0.0.1:0");
	assert_int_equal(sockets_bind(&fixture->configuration, NULL, &first), 0);
	strcpy(text, first.items[0].text);
	listen_only(fixture, "192.0.2.1:0");
	listening_add(fixture, text);
	listening_add(fixture, "127.0.0.1:0");
	assert_int_equal(listening_bind(fixture), -EADDRNOTAVAIL);
	assert_string_equal(capture_line(&fixture->capture, NULL),
			    "192.0.2.1:0: bind: Cannot assign requested address");
	snprintf(expected, sizeof(expected), "%s: bind: Address already in use", text);
	line = capture_line(&fixture->capture, NULL);
	assert_string_equal(line, expected);
	assert_null(capture_raw(&fixture->capture));
	assert_null(fixture->sockets.items);
	sockets_release(&first, NULL);
}

/* A port that was chosen, and the same address that names it, keep their socket. */
static void test_take_over(void **state)
{
	struct fixture *fixture = *state;
	struct sockets next;
	char path[128], text[140], address[ADDRESS_TEXT_MAX];
	int fd, accepted;

	snprintf(path, sizeof(path), "%s/echo", fixture->capture.folder);
	snprintf(text, sizeof(text), "unix:%s", path);
	listening_add(fixture, "127.0.0.1:0");
	listening_add(fixture, text);
	assert_int_equal(listening_bind(fixture), 0);
	strcpy(address, fixture->sockets.items[0].text);

	assert_int_equal(sockets_bind(&fixture->configuration, &fixture->sockets, &next), 0);
	assert_int_equal(next.count, 2);
	assert_string_equal(next.items[0].text, address);
	assert_int_not_equal(next.items[0].fd, fixture->sockets.items[0].fd);
	sockets_release(&fixture->sockets, &fixture->sockets);
	fd = connect_to(&next.items[1], &accepted);
	close(fd);
	close(accepted);
	fixture->sockets = next;

	listen_only(fixture, address);
	assert_int_equal(sockets_bind(&fixture->configuration, &fixture->sockets, &next), 0);
	assert_int_equal(next.count, 1);
	assert_false(next.items[0].is_any_port);
	assert_listening(&next.items[0]);
	sockets_release(&next, &next);

	/* a failure on the way leaves the old ones as they were */
	listening_add(fixture, text);
	listening_add(fixture, "192.0.2.1:0");
	assert_int_equal(sockets_bind(&fixture->configuration, &fixture->sockets, &next),
			 -EADDRNOTAVAIL);
	fd = connect_to(&fixture->sockets.items[1], &accepted);
	close(fd);
	close(accepted);
}

/* However often: an element with port 0 that stands twice, addresses that two elements have. */
static void test_take_over_again(void **state)
{
	struct fixture *fixture = *state;
	size_t local = has_ipv6() ? 2 : 1;
	char text[ADDRESS_TEXT_MAX], name[32];

	listening_add(fixture, "127.0.0.1:0");
	listening_add(fixture, "127.0.0.1:0");
	assert_int_equal(listening_bind(fixture), 0);
	rebind(fixture);
	assert_int_equal(fixture->sockets.count, 2);
	strcpy(text, fixture->sockets.items[0].text);
	snprintf(name, sizeof(name), "localhost:%u", fixture->sockets.items[0].wire.port);
	for (int i = 0; i < 4; i++) {
		listen_only(fixture, i % 2 ? name : text);
		if (i % 2 == 0)
			listening_add(fixture, name);
		rebind(fixture);
		assert_int_equal(fixture->sockets.count, local);
	}
}

static void test_twice_is_once(void **state)
{
	struct fixture *fixture = *state;
	char path[140];

	snprintf(path, sizeof(path), "unix:%s/echo", fixture->capture.folder);
	listening_add(fixture, path);
	listening_add(fixture, path);
	assert_int_equal(listening_bind(fixture), 0);
	assert_int_equal(fixture->sockets.count, 1);
}

/* It is told from a plain one, which a reload does not turn into it. */
static void test_multipath(void **state)
{
	struct fixture *fixture = *state;
	int fd = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);

	if (fd < 0)
		skip();
	close(fd);
	listening_add(fixture, "localhost:0");
	fixture->listen[0].spec.is_multipath = true;
	assert_int_equal(listening_bind(fixture), 0);
	for (size_t i = 0; i < fixture->sockets.count; i++)
		assert_int_equal(get_option(fixture->sockets.items[i].fd, SOL_SOCKET, SO_PROTOCOL),
				 IPPROTO_MPTCP);
	rebind(fixture);
	assert_null(capture_raw(&fixture->capture));
	listen_only(fixture, fixture->sockets.items[0].text);
	rebind(fixture);
	assert_int_equal(get_option(fixture->sockets.items[0].fd, SOL_SOCKET, SO_PROTOCOL),
			 IPPROTO_MPTCP);
	assert_non_null(strstr(capture_line(&fixture->capture, NULL),
			       ": with or without MPTCP takes effect at the next start"));
}

/* What is set on the listening socket holds for the accepted one. */
static void test_timeouts(void **state)
{
	struct fixture *fixture = *state;
	int fd, accepted;

	fixture->configuration.timeouts.stall_us = 60 * 1000000ull;
	listening_add(fixture, "127.0.0.1:0");
	assert_int_equal(listening_bind(fixture), 0);
	assert_int_equal(sockets_apply_options(&fixture->sockets, &fixture->configuration), 0);
	fd = connect_to(fixture->sockets.items, &accepted);
	assert_int_equal(get_option(accepted, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(get_option(accepted, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(get_option(accepted, IPPROTO_TCP, TCP_KEEPIDLE), 60);
	assert_int_equal(get_option(accepted, IPPROTO_TCP, TCP_USER_TIMEOUT), 90000);
	close(fd);
	close(accepted);
	fixture->configuration.timeouts.stall_us = 0;
	assert_int_equal(sockets_apply_options(&fixture->sockets, &fixture->configuration), 0);
	fd = fixture->sockets.items[0].fd;
	assert_int_equal(get_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ipv4_port_0, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_localhost, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_wildcard, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_ipv6_alone, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_wildcard_again, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_wildcard_any_port, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_wildcard_with_ipv4, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_unix, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_unix_stale, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_errors, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_take_over, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_take_over_again, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_twice_is_once, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_multipath, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_timeouts, listening_set_up,
						listening_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
