/* SPDX-License-Identifier: MIT */
/* Rates and idle times from a scoreboard that the test writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "echod/metrics/sampler.h"

#define SLOTS 4u
#define MANY 1000000u	/* a second, however much later a sample is taken than it should */

struct scene {
	struct supervisor supervisor;
	struct generation generation;
	struct sampler *sampler;
};

static int scene_new(void **state)
{
	static struct scene scene;

	scene = (struct scene){ .generation = {
		.number = 1, .state = GENERATION_SERVING, .listener_pid = 1,
	} };
	scene.supervisor.generations = &scene.generation;
	*state = &scene;
	return scoreboard_create(SLOTS, &scene.generation.scoreboard) < 0 ||
	       sampler_new(&scene.sampler) < 0;
}

static int scene_free(void **state)
{
	struct scene *scene = *state;

	sampler_free(scene->sampler);
	free(scene->generation.sampled);
	scoreboard_release(&scene->generation.scoreboard);
	return 0;
}

static void open_connection(struct scene *scene, uint32_t slot, uint64_t id)
{
	struct table *table = scene->generation.scoreboard.table;

	atomic_store(&table->entries[slot].id, id);
	atomic_store(&table->entries[slot].start_ns, clock_now_ns());
	atomic_store(&scene->generation.scoreboard.slot[slot].bytes_in, 0);
	atomic_store(&table->entries[slot].state, ENTRY_LIVE);
	atomic_fetch_add(&table->live, 1);
	atomic_fetch_add(&table->totals.accepted, MANY);
}

static void take(struct scene *scene)
{
	sampler_take(scene->sampler, &scene->supervisor);
}

static void pause_a_little(void)
{
	const struct timespec little = { .tv_nsec = 2000000 };

	nanosleep(&little, NULL);
}

static void test_connection(void **state)
{
	struct scene *scene = *state;
	struct slot *slot = &scene->generation.scoreboard.slot[2];
	const struct sampler_connection *seen;
	uint64_t moved_ns, in, out;

	take(scene);
	assert_null(sampler_find(&scene->generation, 2, 7));
	open_connection(scene, 2, 7);
	pause_a_little();
	atomic_store(&slot->bytes_in, MANY);
	take(scene);
	seen = sampler_find(&scene->generation, 2, 7);
	assert_non_null(seen);
	assert_true(seen->rate_in > 0 && seen->rate_out == 0);
	moved_ns = seen->moved_ns;
	pause_a_little();
	take(scene);
	assert_int_equal(seen->rate_in, 0);
	assert_true(seen->moved_ns == moved_ns);
	atomic_store(&slot->bytes_out, 10);
	take(scene);
	assert_true(seen->moved_ns > moved_ns);
	sampler_live_bytes(scene->sampler, &in, &out);
	assert_int_equal(in, MANY);
	assert_int_equal(out, 10);
	/* A worker that lies: a counter that runs backwards is no rate. */
	atomic_store(&slot->bytes_in, 5);
	take(scene);
	assert_int_equal(seen->rate_in, 0);
}

static void test_slot_again(void **state)
{
	struct scene *scene = *state;

	open_connection(scene, 0, 1);
	take(scene);
	atomic_store(&scene->generation.scoreboard.table->entries[0].state, ENTRY_FREE);
	atomic_store(&scene->generation.scoreboard.table->live, 0);
	open_connection(scene, 0, 2);
	take(scene);
	assert_null(sampler_find(&scene->generation, 0, 1));
	assert_non_null(sampler_find(&scene->generation, 0, 2));
	assert_null(sampler_find(&scene->generation, SLOTS, 2));
}

/* Listeners that died again and again have left more generations than reloads may. */
static void test_many_generations(void **state)
{
	enum { COUNT = 2 * STATE_GENERATIONS_MAX };
	struct scene *scene = *state, scenes[COUNT];
	uint64_t in, out;

	for (size_t i = 0; i < COUNT; i++) {
		scenes[i].generation = (struct generation){
			.number = 2 + i, .listener_pid = 1, .next = scene->supervisor.generations,
		};
		assert_int_equal(scoreboard_create(SLOTS, &scenes[i].generation.scoreboard), 0);
		open_connection(&scenes[i], 0, 1);
		atomic_store(&scenes[i].generation.scoreboard.slot[0].bytes_in, 1);
		scene->supervisor.generations = &scenes[i].generation;
	}
	take(scene);
	sampler_live_bytes(scene->sampler, &in, &out);
	assert_int_equal(in, COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		assert_non_null(sampler_find(&scenes[i].generation, 0, 1));
		free(scenes[i].generation.sampled);
		scoreboard_release(&scenes[i].generation.scoreboard);
	}
}

static void test_history(void **state)
{
	struct scene *scene = *state;
	struct sampler_second seconds[SAMPLER_SECONDS];

	open_connection(scene, 0, 1);
	take(scene);
	assert_int_equal(sampler_history(scene->sampler, seconds), 0);
	open_connection(scene, 1, 2);
	pause_a_little();
	take(scene);
	assert_int_equal(sampler_history(scene->sampler, seconds), 1);
	assert_true(seconds[0].accepted > 0);
	for (unsigned i = 0; i < SAMPLER_SECONDS + 5; i++)
		take(scene);
	assert_int_equal(sampler_history(scene->sampler, seconds), SAMPLER_SECONDS);
	assert_int_equal(seconds[0].accepted, 0);
	open_connection(scene, 2, 3);
	pause_a_little();
	take(scene);
	sampler_history(scene->sampler, seconds);
	assert_true(seconds[SAMPLER_SECONDS - 1].accepted > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_connection, scene_new, scene_free),
		cmocka_unit_test_setup_teardown(test_slot_again, scene_new, scene_free),
		cmocka_unit_test_setup_teardown(test_many_generations, scene_new, scene_free),
		cmocka_unit_test_setup_teardown(test_history, scene_new, scene_free),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
