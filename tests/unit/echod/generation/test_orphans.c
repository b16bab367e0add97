/* SPDX-License-Identifier: MIT */
/* After a listener's death: who is an orphan, what its end is called; ending workers by force. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "echod/generation/generation.h"

#define SLOTS 8

static struct scoreboard board;

static int setup(void **state)
{
	(void)state;
	return scoreboard_create(&board, SLOTS);
}

static int teardown(void **state)
{
	(void)state;
	scoreboard_release(&board);
	return 0;
}

static void entry_set(uint32_t slot, pid_t pid, uint64_t id, enum entry_state entry_state)
{
	struct entry *entry = &board.table->entries[slot];

	atomic_store(&entry->pid, pid);
	atomic_store(&entry->id, id);
	atomic_store(&entry->start_ns, 1000);
	atomic_store(&entry->state, entry_state);
}

static void ring_put(const struct event *event)
{
	uint64_t head = atomic_load(&board.table->ring_head);

	board.table->ring[head % RING_EVENTS] = *event;
	atomic_store(&board.table->ring_head, head + 1);
}

static void count_event(void *context, const struct event *event)
{
	(void)event;
	++*(unsigned *)context;
}

static void test_list(void **state)
{
	const struct event closed = { .type = EVENT_CLOSED, .slot = 2, .id = 9 };
	const struct event outside = { .type = EVENT_CLOSED, .slot = SLOTS, .id = 1 };
	struct orphans orphans;
	unsigned events = 0;

	(void)state;
	entry_set(0, 300, 7, ENTRY_LIVE);
	entry_set(1, 100, 8, ENTRY_LIVE);
	entry_set(2, 200, 9, ENTRY_LIVE);	/* its end is in the ring, its entry not cleared */
	entry_set(4, 500, 6, ENTRY_FREE);
	entry_set(5, -1, 10, ENTRY_LIVE);
	ring_put(&closed);
	ring_put(&outside);
	assert_int_equal(scoreboard_drain(&board, count_event, &events), 2);
	assert_int_equal(events, 2);

	assert_int_equal(orphans_list(&board, &orphans), 0);
	assert_int_equal(orphans.count, 2);
	assert_int_equal(orphans.live, 2);
	assert_int_equal(orphans_find(&orphans, 300)->slot, 0);
	assert_int_equal(orphans_find(&orphans, 100)->slot, 1);
	assert_null(orphans_find(&orphans, 200));
	/* one that has ended, or never began, is not taken for a live one by anybody */
	assert_int_equal(atomic_load(&board.table->entries[0].state), ENTRY_LIVE);
	assert_int_equal(atomic_load(&board.table->entries[2].state), ENTRY_FREE);
	assert_int_equal(atomic_load(&board.table->entries[5].state), ENTRY_FREE);
	orphans_find(&orphans, 100)->ended = true;
	assert_null(orphans_find(&orphans, 100));
	free(orphans.items);
}

static enum end_reason end_of(int status, bool has_status)
{
	const struct orphan orphan = { .pid = 100, .slot = 1 };
	const struct rusage usage = {0};
	struct event event;

	orphan_event(&board, &orphan, status, has_status ? &usage : NULL, 5000, &event);
	assert_int_equal(event.type, EVENT_CLOSED);
	assert_int_equal(event.pid, 100);
	assert_int_equal(event.start_ns, 1000);
	assert_int_equal(event.end_ns, 5000);
	return event.reason;
}

static void test_end_reason(void **state)
{
	(void)state;
	entry_set(1, 100, 8, ENTRY_LIVE);
	assert_int_equal(end_of(END_STALL << 8, true), END_STALL);
	assert_int_equal(end_of(200 << 8, true), END_ERROR);
	assert_int_equal(end_of(SIGKILL, true), END_KILLED);
	assert_int_equal(end_of(SIGSEGV, true), END_CRASHED);
	assert_int_equal(end_of(0, false), END_ERROR);
	atomic_store(&board.slot[1].phase, SLOT_ENDING);
	assert_int_equal(end_of(0, false), END_FIN);
	atomic_store(&board.command[1], command_make(101, SLOT_END_DRAIN));
	assert_int_equal(end_of(SIGKILL, true), END_KILLED);
	atomic_store(&board.command[1], command_make(100, SLOT_END_DRAIN));
	assert_int_equal(end_of(SIGKILL, true), END_DRAIN);
}

static void test_ring_nonsense(void **state)
{
	unsigned events = 0;

	(void)state;
	atomic_store(&board.table->ring_head, UINT64_MAX / 2);
	assert_int_equal(scoreboard_drain(&board, count_event, &events), 0);
	assert_int_equal(events, 0);
	assert_true(scoreboard_sleep(&board));
	atomic_store(&board.table->live, UINT32_MAX);
	assert_int_equal(scoreboard_live(&board), SLOTS);
}

/* A process that waits for a signal, as the worker of connection id in this slot. */
static pid_t worker_start(uint32_t slot, uint64_t id)
{
	pid_t pid = fork();

	if (pid == 0) {
		alarm(30);	/* a test that fails leaves it behind */
		pause();
		_exit(0);
	}
	assert_true(pid > 0);
	entry_set(slot, pid, id, ENTRY_LIVE);
	return pid;
}

static void test_end_worker(void **state)
{
	pid_t pid = worker_start(3, 7);
	siginfo_t info;

	(void)state;
	/* The slot has changed hands since somebody looked at it. */
	assert_int_equal(scoreboard_end_worker(&board, 3, 6, SLOT_END_KILLED, SIGKILL), -ESRCH);
	assert_int_equal(atomic_load(&board.command[3]), 0);
	assert_int_equal(scoreboard_end_worker(&board, 3, 7, SLOT_END_KILLED, SIGTERM), 0);
	assert_int_equal(command_for(&board.command[3], pid), SLOT_END_KILLED);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED), 0);
	assert_int_equal(info.si_status, SIGTERM);
	assert_int_equal(scoreboard_end_worker(&board, 3, 0, SLOT_END_KILLED, SIGKILL), -ESRCH);
}

static void test_kill_again(void **state)
{
	struct generation generation = { .scoreboard = board };
	struct rlimit before, none;
	pid_t pid = worker_start(3, 7);
	uint64_t told_ns;
	siginfo_t info;

	(void)state;
	assert_true(generation_kill_again(&generation) == UINT64_MAX);
	assert_int_equal(generation_kill_slot(&generation, 3, 7), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ 0, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	told_ns = board.notes[3].told_ns;
	assert_true(told_ns > 0 && generation_kill_again(&generation) == told_ns);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(generation_kill_slot(&generation, 3, 7), 0);
	assert_true(generation_kill_again(&generation) == told_ns);	/* the first order counts */
	board.notes[3].told_ns = 1;
	assert_true(generation_kill_again(&generation) == 1);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED), 0);
	assert_int_equal(info.si_status, SIGKILL);
	assert_true(generation_kill_again(&generation) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_reason, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ring_nonsense, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_worker, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kill_again, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
