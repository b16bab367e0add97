/* SPDX-License-Identifier: MIT */
/* What the generations count of each other while listeners write it. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "echod/supervisor.h"

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
	assert_int_equal(scoreboard_create(SLOTS, &one.scoreboard), 0);
	assert_int_equal(scoreboard_create(SLOTS, &other.scoreboard), 0);
	atomic_store(&other.scoreboard.table->live, 3);
	pid = listener_start(one.scoreboard.table);
	assert_true(pid > 0);
	while (!atomic_load_explicit(&one.scoreboard.table->live, memory_order_relaxed))
		;
	for (unsigned i = 0; i < LOOKS; i++)
		wrong += supervisor_foreign_live(&supervisor, &one) != 3;
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(wrong, 0);
	atomic_store(&one.scoreboard.table->live, 2);
	assert_int_equal(supervisor_foreign_live(&supervisor, &other), 2);
	assert_int_equal(supervisor_live(&supervisor), 5);
	scoreboard_release(&one.scoreboard);
	scoreboard_release(&other.scoreboard);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_foreign_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
