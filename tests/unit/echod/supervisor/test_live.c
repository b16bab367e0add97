/* SPDX-License-Identifier: MIT */
/* What the supervisor does while listeners write: counting others, making room for events. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "echod/state/state.h"
#include "wire/settings.h"

#define SLOTS 8u
#define LOOKS 10000000u

/* In the place of a listener: one connection comes and goes. */
static pid_t listener_start(struct table *table)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	alarm(60);	/* a test that fails leaves it behind */
	for (uint32_t i = 0;; i++)
		atomic_store_explicit(&table->live, i % 2, memory_order_relaxed);
}

static void test_foreign_live(void **state)
{
	struct generation other = { .listener_pid = 1 };
	struct generation one = { .listener_pid = 1, .next = &other };
	struct supervisor supervisor = { .generations = &one };
	unsigned wrong = 0;
	pid_t pid;

	(void)state;
	alarm(60);
	assert_int_equal(scoreboard_create(&one.scoreboard, SLOTS), 0);
	assert_int_equal(scoreboard_create(&other.scoreboard, SLOTS), 0);
	atomic_store(&other.scoreboard.table->live, 3);
	pid = listener_start(one.scoreboard.table);
	assert_true(pid > 0);
	while (!atomic_load_explicit(&one.scoreboard.table->live, memory_order_relaxed))
		;
	for (unsigned i = 0; i < LOOKS; i++)
		wrong += totals_foreign_live(&supervisor, &one) != 3;
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(wrong, 0);
	atomic_store(&one.scoreboard.table->live, 2);
	assert_int_equal(totals_foreign_live(&supervisor, &other), 2);
	assert_int_equal(totals_live(&supervisor), 5);
	scoreboard_release(&one.scoreboard);
	scoreboard_release(&other.scoreboard);
}

static void on_event(void *context, struct generation *generation, const struct event *event)
{
	(void)generation;
	(void)event;
	++*(unsigned *)context;
}

/* The ends of those that were told first come while the last ones are being told. */
static void test_room_in_ring(void **state)
{
	unsigned events = 0;
	const struct generation_hooks hooks = { .event = on_event, .context = &events };
	struct generation generation = { .hooks = &hooks, .wire_version = WIRE_VERSION };
	struct table *table;

	(void)state;
	assert_int_equal(scoreboard_create(&generation.scoreboard, SLOTS), 0);
	table = generation.scoreboard.table;
	atomic_store(&table->ring_head, RING_EVENTS / 2);
	generation_end_workers(&generation, SLOT_END_DRAIN, SIGURG);
	assert_int_equal(events, 0);
	atomic_store(&table->ring_head, RING_EVENTS / 2 + 1);
	generation_end_workers(&generation, SLOT_END_DRAIN, SIGURG);
	assert_int_equal(events, RING_EVENTS / 2 + 1);
	atomic_store(&table->ring_head, RING_EVENTS + 2);
	assert_int_equal(generation_kill_slot(&generation, 0, 1), -ESRCH);
	assert_int_equal(events, RING_EVENTS + 2);
	scoreboard_release(&generation.scoreboard);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_foreign_live),
		cmocka_unit_test(test_room_in_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
