/* SPDX-License-Identifier: MIT */
/* The ring of events: order, fullness, and when the supervisor is woken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "listener/listener.h"

struct fixture {
	struct listener listener;
	int theirs;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	int fds[2];

	if (fixture == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds) < 0)
		return -1;
	fixture->listener.table = aligned_alloc(64, sizeof(struct table));
	if (fixture->listener.table == NULL)
		return -1;
	*fixture->listener.table = (struct table){ .slots = 0 };
	fixture->listener.channel_fd = fds[0];
	fixture->theirs = fds[1];
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	close(fixture->listener.channel_fd);
	close(fixture->theirs);
	free(fixture->listener.table);
	free(fixture);
	return 0;
}

/* The type of the next message, 0 when there is none. */
static uint32_t received(const struct fixture *fixture)
{
	struct message message;

	if (read(fixture->theirs, &message, sizeof(message)) != (ssize_t)sizeof(message))
		return 0;
	return message.type;
}

static void put(struct fixture *fixture, uint64_t id)
{
	const struct event event = { .type = EVENT_CLOSED, .id = id };

	events_put(&fixture->listener, &event);
}

static void test_order(void **state)
{
	struct fixture *fixture = *state;
	const struct table *table = fixture->listener.table;

	for (uint64_t id = 1; id <= 3; id++)
		put(fixture, id);
	assert_int_equal(table->ring_head, 3);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(table->ring[i].id, i + 1);
	assert_int_equal(received(fixture), 0);
}

static void test_full(void **state)
{
	struct fixture *fixture = *state;
	struct table *table = fixture->listener.table;

	for (uint64_t id = 1; id <= RING_EVENTS + 5; id++)
		put(fixture, id);
	assert_int_equal(table->ring_head, RING_EVENTS);
	assert_int_equal(table->totals.events_dropped, 5);
	assert_int_equal(table->ring[0].id, 1);
	atomic_store(&table->ring_tail, 1);
	put(fixture, 9999);
	assert_int_equal(table->ring[0].id, 9999);
	assert_int_equal(table->totals.events_dropped, 5);
}

static void test_wake_once(void **state)
{
	struct fixture *fixture = *state;

	atomic_store(&fixture->listener.table->asleep, 1);
	put(fixture, 1);
	put(fixture, 2);
	assert_int_equal(received(fixture), MESSAGE_WAKE);
	assert_int_equal(received(fixture), 0);
	assert_int_equal(atomic_load(&fixture->listener.table->asleep), 0);
}

/* A supervisor that reads nothing: it stays asleep, and the next event tries again. */
static void test_wake_without_room(void **state)
{
	struct fixture *fixture = *state;
	struct message message = { .type = MESSAGE_PONG };

	while (write(fixture->listener.channel_fd, &message, sizeof(message)) > 0)
		;
	atomic_store(&fixture->listener.table->asleep, 1);
	put(fixture, 1);
	assert_int_equal(atomic_load(&fixture->listener.table->asleep), 1);
	assert_int_equal(fixture->listener.table->ring_head, 1);
}

static void test_starved_once_a_second(void **state)
{
	struct fixture *fixture = *state;
	const struct table *table = fixture->listener.table;

	for (uint64_t i = 0; i < 10; i++)
		events_starve(&fixture->listener, -11, i * 100000000u);
	assert_int_equal(table->ring_head, 1);
	events_starve(&fixture->listener, -12, 1000000000u);
	assert_int_equal(table->ring_head, 2);
	assert_int_equal(table->ring[1].count, 10);
	assert_int_equal(table->ring[1].detail, 12);
	assert_int_equal(table->totals.starved, 11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_wake_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_wake_without_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_starved_once_a_second, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
