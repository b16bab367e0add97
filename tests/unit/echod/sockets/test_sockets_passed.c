/* SPDX-License-Identifier: MIT */
/* Listening sockets as systemd passes them, and how they differ from listen. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "echod/log/log.h"
#include "echod/sockets/sockets.h"
#include "unit/capture.h"
#include "unit/listening.h"

/*
 * Runs check in a child that finds fds at 3... and the environment of sd_listen_fds(3). Each
 * sends no more than its exit status; 0 is success.
 */
static void run_with_passed(struct fixture *fixture, const int *fds, int count, const char *names,
			    int (*check)(struct fixture *fixture))
{
	char text[32];
	int status, copies[LISTEN_MAX];
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		/* out of the way of 3, 4, ..., the log too */
		log_close();
		for (int i = 0; i < count; i++)
			copies[i] = fcntl(fds[i], F_DUPFD, 50);
		for (int i = 0; i < count; i++)
			dup2(copies[i], 3 + i);
		log_open_at(LOG_TARGET_SYSLOG, LOG_DAEMON, fixture->capture.path);
		snprintf(text, sizeof(text), "%d", getpid());
		setenv("LISTEN_PID", text, 1);
		snprintf(text, sizeof(text), "%d", count);
		setenv("LISTEN_FDS", text, 1);
		setenv("LISTEN_FDNAMES", names, 1);
		_exit(check(fixture));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static int make_socket(int type, bool listens)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, type, 0);

	assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	if (listens)
		assert_return_code(listen(fd, 1), 0);
	return fd;
}

static int check_passed(struct fixture *fixture)
{
	struct sockets *sockets = &fixture->sockets;

	if (sockets_take_passed(sockets) != 0 || sockets->count != 2 || !sockets->passed)
		return 1;
	for (size_t i = 0; i < 2; i++) {
		if (sockets->items[i].fd != 3 + (int)i || sockets->items[i].is_any_port)
			return 2;
		if (!(fcntl(sockets->items[i].fd, F_GETFL) & O_NONBLOCK) ||
		    !(fcntl(sockets->items[i].fd, F_GETFD) & FD_CLOEXEC))
			return 3;
		if (sockets->items[i].wire.port == 0)
			return 4;
	}
	if (getenv("LISTEN_PID") || getenv("LISTEN_FDS") || getenv("LISTEN_FDNAMES"))
		return 5;
	return 0;
}

static void test_passed(void **state)
{
	int fds[] = {make_socket(SOCK_STREAM, true), make_socket(SOCK_STREAM, true)};

	run_with_passed(*state, fds, 2, "echod.socket:echod.socket", check_passed);
	close(fds[0]);
	close(fds[1]);
}

static int check_none(struct fixture *fixture)
{
	setenv("LISTEN_PID", "1", 1);
	if (sockets_take_passed(&fixture->sockets) != 0 || fixture->sockets.count != 0 ||
	    fixture->sockets.passed)
		return 1;
	return getenv("LISTEN_FDS") != NULL;
}

/* Meant for another process: not ours, and not our children's either. */
static void test_passed_to_another(void **state)
{
	run_with_passed(*state, NULL, 0, "", check_none);
}

static int check_refused(struct fixture *fixture)
{
	if (sockets_take_passed(&fixture->sockets) != -EINVAL || fixture->sockets.items != NULL)
		return 1;
	return fcntl(3, F_GETFD) >= 0 || fcntl(4, F_GETFD) >= 0;
}

/* They are told apart by their kind, not by their order. */
static int check_kinds(struct fixture *fixture)
{
	struct sockets *sockets = &fixture->sockets;

	if (sockets_take_passed(sockets) != 0 || sockets->count != 2)
		return 1;
	if (sockets->items[0].wire.type != SETTINGS_DATAGRAM ||
	    strncmp(sockets->items[0].text, "udp:127.0.0.1:", 14) != 0)
		return 2;
	return sockets->items[1].wire.type == SETTINGS_STREAM ? 0 : 3;
}

static void test_passed_kinds(void **state)
{
	int fds[] = {make_socket(SOCK_DGRAM, false), make_socket(SOCK_STREAM, true)};

	run_with_passed(*state, fds, 2, "echod-udp.socket:echod.socket", check_kinds);
	close(fds[0]);
	close(fds[1]);
}

static void connect_to_itself(int fd)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);

	assert_return_code(getsockname(fd, (struct sockaddr *)&address, &length), errno);
	assert_return_code(connect(fd, (struct sockaddr *)&address, length), errno);
}

static void test_passed_wrong(void **state)
{
	struct fixture *fixture = *state;
	int good_fd = make_socket(SOCK_STREAM, true);
	int datagram_fds[] = {good_fd, socket(AF_UNIX, SOCK_DGRAM, 0)};
	int connected_fds[] = {good_fd, make_socket(SOCK_DGRAM, false)};
	int mute_fds[] = {make_socket(SOCK_STREAM, false), good_fd};
	int file_fds[] = {good_fd, open("/dev/null", O_RDONLY)};

	run_with_passed(fixture, datagram_fds, 2, "good:udp", check_refused);
	assert_string_equal(capture_line(&fixture->capture, NULL),
			    "passed socket 1 (udp): neither a stream nor a UDP socket "
			    "(use ListenStream=, ListenDatagram=)");
	connect_to_itself(connected_fds[1]);
	run_with_passed(fixture, connected_fds, 2, "good:udp", check_refused);
	assert_string_equal(capture_line(&fixture->capture, NULL),
			    "passed socket 1 (udp): a connected UDP socket");
	run_with_passed(fixture, mute_fds, 2, "mute:good", check_refused);
	assert_string_equal(capture_line(&fixture->capture, NULL),
			    "passed socket 0 (mute): not a listening socket "
			    "(use Accept=no, or echod --inetd)");
	run_with_passed(fixture, file_fds, 2, "good:file", check_refused);
	assert_string_equal(capture_line(&fixture->capture, NULL),
			    "passed socket 1 (file): not a socket");
	close(good_fd);
	close(datagram_fds[1]);
	close(connected_fds[1]);
	close(mute_fds[0]);
	close(file_fds[1]);
}

/* What differs between the bound sockets, taken as passed ones, and the listed elements. */
static char *difference(struct fixture *fixture, const char *one, const char *other)
{
	char *text = NULL;

	listening_forget(fixture);
	listening_add(fixture, one);
	if (other != NULL)
		listening_add(fixture, other);
	fixture->sockets.passed = true;
	if (!sockets_differ(&fixture->sockets, &fixture->configuration, &text))
		return NULL;
	return text;
}

static void assert_difference(struct fixture *fixture, const char *one, const char *other,
			      const char *expected)
{
	char *text = difference(fixture, one, other);

	if (expected == NULL)
		assert_null(text);
	else
		assert_string_equal(text, expected);
	free(text);
}

static void test_differ(void **state)
{
	struct fixture *fixture = *state;
	char bound[ADDRESS_TEXT_MAX], localhost[64], wildcard[64], expected[400];

	listening_add(fixture, "127.0.0.1:0");
	assert_int_equal(listening_bind(fixture), 0);
	strcpy(bound, fixture->sockets.items[0].text);
	snprintf(localhost, sizeof(localhost), "localhost:%u", fixture->sockets.items[0].wire.port);
	snprintf(wildcard, sizeof(wildcard), "*:%u", fixture->sockets.items[0].wire.port);

	assert_difference(fixture, bound, NULL, NULL);
	assert_difference(fixture, localhost, NULL, NULL);
	assert_difference(fixture, "127.0.0.1:0", NULL, NULL);
	snprintf(expected, sizeof(expected), "not passed: %s; not in listen: %s", wildcard, bound);
	assert_difference(fixture, wildcard, NULL, expected);
	assert_difference(fixture, bound, "unix:/run/echo", "not passed: unix:/run/echo");
	snprintf(expected, sizeof(expected), "not passed: [::1]:1, 192.0.2.1:7; not in listen: %s",
		 bound);
	assert_difference(fixture, "[::1]:1", "192.0.2.1:7", expected);

	fixture->configuration.listen_is_set = false;
	assert_difference(fixture, wildcard, NULL, NULL);
	fixture->sockets.passed = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_passed, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_passed_to_another, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_passed_kinds, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_passed_wrong, listening_set_up,
						listening_tear_down),
		cmocka_unit_test_setup_teardown(test_differ, listening_set_up,
						listening_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
