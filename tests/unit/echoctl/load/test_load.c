/* SPDX-License-Identifier: MIT */
/* Tests of what load counts when a connection does this or that, whatever the time it takes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echoctl/load/load.h"
#include "echoctl/probe/payload.h"

#define SIZE_BYTES 64
#define HOUR_US (3600 * (uint64_t)CLOCK_US_PER_S)

static uint8_t table[PAYLOAD_WINDOWS + SIZE_BYTES];
static struct load load;
static struct load_tally tally;
static struct load_worker worker;
static struct load_connection connection;
static int peer_fd = -1;

static int set_up(void **state)
{
	int fds[2];
	struct epoll_event event = { .events = EPOLLOUT, .data.ptr = &connection };

	(void)state;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	peer_fd = fds[1];
	memset(&tally, 0, sizeof(tally));
	load = (struct load){
		.processes = 1, .connections = 1, .size_bytes = SIZE_BYTES, .timeout_us = HOUR_US,
		.dial.timeout_us = HOUR_US, .table = table,
	};
	worker = (struct load_worker){
		.load = &load, .tally = &tally, .quota = 10, .connections = &connection,
		.n_connections = 1, .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
	};
	connection = (struct load_connection){
		.fd = fds[0],
		.exchange = { .bytes = table, .size = SIZE_BYTES },
	};
	return epoll_ctl(worker.epoll_fd, EPOLL_CTL_ADD, fds[0], &event);
}

static int tear_down(void **state)
{
	(void)state;
	peer_fd = fd_close(peer_fd);
	connection.fd = fd_close(connection.fd);
	worker.epoll_fd = fd_close(worker.epoll_fd);
	return 0;
}

/* Puts the connection into a state that it has been in for half an hour, or for two hours. */
static void enter(enum load_state state, bool active, bool late)
{
	connection.state = state;
	connection.active = active;
	connection.began_ns = clock_now_ns() - (late ? 2 * HOUR_US : HOUR_US / 2) * 1000;
	connection.exchange.sent_bytes = SIZE_BYTES;
	connection.exchange.received_bytes = state == ECHOING ? 0 : SIZE_BYTES;
	connection.exchange.half_close = state == CLOSING;
	worker.active = active;
	tally.begun = active;
	worker.connecting = state == CONNECTING;
	tally.open = state != CONNECTING;
}

static uint64_t count_errors(void)
{
	uint64_t sum = 0;

	for (unsigned phase = 0; phase < LOAD_PHASES; phase++)
		sum += tally.errors[phase];
	return sum;
}

static void assert_failed(enum load_phase phase, int error)
{
	assert_int_equal(count_errors(), 1);
	assert_int_equal(tally.errors[phase], 1);
	assert_int_equal(tally.reasons[phase], error);
	assert_int_equal(connection.state, CLOSED);
	assert_int_equal(worker.active, 0);
	assert_int_equal(tally.open, 0);
}

static void test_echo_in_time(void **state)
{
	(void)state;
	enter(ECHOING, true, false);
	assert_int_equal(write(peer_fd, table, SIZE_BYTES), SIZE_BYTES);
	load_worker_take(&worker, &connection, EPOLLIN);
	assert_int_equal(count_errors(), 0);
	assert_int_equal(tally.raw.count, 1);
	assert_int_equal(connection.state, IDLE);
}

/* The stop was noticed later than the message began. */
static void test_echo_after_a_stop(void **state)
{
	(void)state;
	enter(ECHOING, true, false);
	connection.stopped_ns = HOUR_US * 1000;
	assert_int_equal(write(peer_fd, table, SIZE_BYTES), SIZE_BYTES);
	load_worker_take(&worker, &connection, EPOLLIN);
	assert_int_equal(count_errors(), 0);
	assert_int_equal(tally.raw.count, 1);
}

/* No sweep came between the end of its time and the echo. */
static void test_echo_too_late(void **state)
{
	(void)state;
	enter(ECHOING, true, true);
	assert_int_equal(write(peer_fd, table, SIZE_BYTES), SIZE_BYTES);
	load_worker_take(&worker, &connection, EPOLLIN);
	assert_failed(LOAD_ECHO, -ETIMEDOUT);
	assert_int_equal(tally.raw.count, 0);
}

static void test_connected_in_time(void **state)
{
	(void)state;
	enter(CONNECTING, false, false);
	load_worker_take(&worker, &connection, EPOLLOUT);
	assert_int_equal(count_errors(), 0);
	assert_int_equal(tally.connections, 1);
	assert_int_equal(connection.state, IDLE);
}

static void test_connected_too_late(void **state)
{
	(void)state;
	load.reconnect = true;
	enter(CONNECTING, true, true);
	load_worker_take(&worker, &connection, EPOLLOUT);
	assert_failed(LOAD_CONNECT, -ETIMEDOUT);
	assert_int_equal(tally.connections, 0);
}

static void test_end_too_late(void **state)
{
	(void)state;
	load.reconnect = true;
	enter(CLOSING, true, true);
	peer_fd = fd_close(peer_fd);
	load_worker_take(&worker, &connection, EPOLLIN);
	assert_failed(LOAD_EOF, -ETIMEDOUT);
}

/* A message with a connection of its own is verified when its end has come, and not before. */
static void test_echo_and_end(void **state)
{
	(void)state;
	load.reconnect = true;
	enter(ECHOING, true, false);
	assert_int_equal(write(peer_fd, table, SIZE_BYTES), SIZE_BYTES);
	load_worker_take(&worker, &connection, EPOLLIN);
	assert_int_equal(connection.state, CLOSING);
	assert_int_equal(tally.raw.count, 0);
	peer_fd = fd_close(peer_fd);
	load_worker_take(&worker, &connection, EPOLLIN);
	assert_int_equal(tally.raw.count, 1);
	assert_int_equal(count_errors(), 0);
	assert_int_equal(worker.active, 0);
}

static void test_end_in_place_of_a_message(void **state)
{
	(void)state;
	enter(IDLE, false, false);
	tally.begun = 9;
	peer_fd = fd_close(peer_fd);
	load_worker_take(&worker, &connection, EPOLLIN);
	assert_failed(LOAD_ECHO, -ENODATA);
	assert_int_equal(tally.begun, 10);
}

/* What was sent and not read makes it a reset. */
static void reset_by_peer(void)
{
	assert_int_equal(write(connection.fd, table, 1), 1);
	peer_fd = fd_close(peer_fd);
	load_worker_take(&worker, &connection, EPOLLIN | EPOLLHUP | EPOLLERR);
}

/* No FIN is awaited there. */
static void test_reset_in_place_of_a_message(void **state)
{
	(void)state;
	enter(IDLE, false, false);
	reset_by_peer();
	assert_failed(LOAD_ECHO, -ECONNRESET);
	assert_int_equal(tally.begun, 1);
}

static void test_reset_in_place_of_the_end(void **state)
{
	(void)state;
	load.reconnect = true;
	enter(CLOSING, true, false);
	reset_by_peer();
	assert_failed(LOAD_EOF, -ECONNRESET);
}

static void test_end_behind_the_last_message(void **state)
{
	(void)state;
	enter(IDLE, false, false);
	tally.begun = worker.quota;
	peer_fd = fd_close(peer_fd);
	load_worker_take(&worker, &connection, EPOLLIN);
	assert_int_equal(count_errors(), 0);
	assert_int_equal(tally.begun, worker.quota);
	assert_int_equal(connection.state, CLOSED);
	assert_int_equal(tally.open, 0);
}

static void test_end_behind_the_duration(void **state)
{
	(void)state;
	enter(IDLE, false, false);
	worker.end_ns = clock_now_ns();
	peer_fd = fd_close(peer_fd);
	load_worker_take(&worker, &connection, EPOLLIN);
	assert_int_equal(count_errors(), 0);
	assert_int_equal(connection.state, CLOSED);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_echo_in_time),
		TEST(test_echo_after_a_stop),
		TEST(test_echo_too_late),
		TEST(test_connected_in_time),
		TEST(test_connected_too_late),
		TEST(test_end_too_late),
		TEST(test_echo_and_end),
		TEST(test_end_in_place_of_a_message),
		TEST(test_reset_in_place_of_a_message),
		TEST(test_reset_in_place_of_the_end),
		TEST(test_end_behind_the_last_message),
		TEST(test_end_behind_the_duration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
