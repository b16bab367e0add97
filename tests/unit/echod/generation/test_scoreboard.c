/* SPDX-License-Identifier: MIT */
/* Rates, idle times and sums from scoreboards that the test writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "echod/state/state.h"

#define SLOTS 4u
#define SECOND 1000000000ull
#define START (1000 * SECOND)

static int scene_new(void **state)
{
	struct generation *generation = generation_new();

	if (!generation)
		return -1;
	generation->listener_pid = 1;
	*state = generation;
	return scoreboard_create(&generation->scoreboard, SLOTS);
}

static int scene_free(void **state)
{
	generation_free(*state);
	return 0;
}

static struct slot *open_connection(struct generation *generation, uint32_t slot, uint64_t id)
{
	struct table *table = generation->scoreboard.table;

	atomic_store(&table->entries[slot].id, id);
	atomic_store(&table->entries[slot].start_ns, START);
	atomic_store(&generation->scoreboard.slot[slot].bytes_in, 0);
	atomic_store(&table->entries[slot].state, ENTRY_LIVE);
	atomic_fetch_add(&table->live, 1);
	return &generation->scoreboard.slot[slot];
}

static void take(struct generation *generation, uint64_t now_ns)
{
	scoreboard_note(&generation->scoreboard, generation_live(generation), now_ns);
}

static void test_rates(void **state)
{
	struct generation *generation = *state;
	const struct slot_note *seen = &generation->scoreboard.notes[2];
	struct slot *slot;

	take(generation, START - SECOND);
	assert_int_equal(seen->id, 0);
	slot = open_connection(generation, 2, 7);
	atomic_store(&slot->bytes_in, 1000);
	take(generation, START + SECOND / 2);	/* it is younger than the sample before */
	assert_int_equal(seen->id, 7);
	assert_int_equal(seen->rate_in, 2000);
	assert_int_equal(seen->rate_out, 0);
	assert_int_equal(seen->moved_ns, START + SECOND / 2);
	take(generation, START + 2 * SECOND);
	assert_int_equal(seen->rate_in, 0);
	assert_int_equal(seen->moved_ns, START + SECOND / 2);
	atomic_store(&slot->bytes_out, 10);
	take(generation, START + 3 * SECOND);
	assert_int_equal(seen->rate_out, 10);
	assert_int_equal(seen->moved_ns, START + 3 * SECOND);
	/* A worker that lies: a counter that runs backwards is no rate. */
	atomic_store(&slot->bytes_in, 5);
	take(generation, START + 4 * SECOND);
	assert_int_equal(seen->rate_in, 0);
	atomic_store(&slot->bytes_in, UINT64_MAX);
	take(generation, START + 4 * SECOND + 1);
	assert_int_equal(seen->rate_in, SLOT_BYTES_MAX);
}

static void test_slot_again(void **state)
{
	struct generation *generation = *state;

	open_connection(generation, 0, 1);
	take(generation, START);
	atomic_store(&generation->scoreboard.table->entries[0].state, ENTRY_FREE);
	atomic_store(&generation->scoreboard.table->live, 0);
	open_connection(generation, 0, 2);
	take(generation, START + SECOND);
	assert_int_equal(generation->scoreboard.notes[0].id, 2);
}

/* Listeners that died again and again have left more generations than reloads may. */
static void test_live_bytes(void **state)
{
	enum { COUNT = 2 * STATE_GENERATIONS_MAX };
	struct supervisor supervisor = {0};
	uint64_t in, out;

	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		struct generation *generation;
		void *scene = NULL;
		struct slot *slot;

		assert_int_equal(scene_new(&scene), 0);
		generation = scene;
		if (!generation)	/* the assertion ends the test, which gcc does not know */
			break;
		slot = open_connection(generation, i % SLOTS, 1);
		atomic_store(&slot->bytes_in, 1);
		atomic_store(&slot->bytes_out, UINT64_MAX);
		generation->next = supervisor.generations;
		supervisor.generations = generation;
	}
	totals_live_bytes(&supervisor, &in, &out);
	assert_int_equal(in, COUNT);
	assert_int_equal(out, COUNT * SLOT_BYTES_MAX);
	while (supervisor.generations) {
		struct generation *generation = supervisor.generations;

		supervisor.generations = generation->next;
		generation_free(generation);
	}
}

/* Maps the scoreboard once more, as a program of another version does. */
static struct scoreboard map_stranger(const struct scoreboard *own)
{
	struct scoreboard stranger = SCOREBOARD_NONE;

	stranger.table_fd = dup(own->table_fd);
	stranger.slots_fd = dup(own->slots_fd);
	stranger.commands_fd = dup(own->commands_fd);
	assert_int_equal(scoreboard_map(&stranger, true), 0);
	return stranger;
}

/* What a listener of another version says of its counters of datagrams need not be true. */
static void test_stranger(void **state)
{
	struct generation *generation = *state;
	struct scoreboard *own = &generation->scoreboard, stranger;
	const uint32_t good = own->table->datagrams_at;
	const uint32_t bad[] = { 0, 1, good - 1, good + 1, good + 65536, UINT32_MAX };

	atomic_store(&own->datagrams->sockets[1].received, 5);
	stranger = map_stranger(own);
	assert_int_equal(stranger.datagrams->sockets[1].received, 5);
	scoreboard_release(&stranger);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		own->table->datagrams_at = bad[i];
		stranger = map_stranger(own);
		assert_null(stranger.datagrams);
		scoreboard_release(&stranger);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rates, scene_new, scene_free),
		cmocka_unit_test_setup_teardown(test_slot_again, scene_new, scene_free),
		cmocka_unit_test(test_live_bytes),
		cmocka_unit_test_setup_teardown(test_stranger, scene_new, scene_free),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
