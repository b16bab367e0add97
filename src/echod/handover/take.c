/* SPDX-License-Identifier: MIT */
/* The side that takes over: what the state says is checked, then it is ours. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/number.h"
#include "echod/control/control.h"
#include "echod/handover/give.h"
#include "echod/handover/state.h"
#include "echod/log/log.h"
#include "wire/event.h"
#include "wire/version.h"

int handover_take(void)
{
	const int sealed = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;
	const char *text = secure_getenv(HANDOVER_VARIABLE);
	uint64_t fd;
	int result = -1;

	/* A stranger's variable names no file that was sealed like ours. */
	if (text && number_parse(text, 3, INT32_MAX, &fd) == 0 &&
	    (fcntl((int)fd, F_GET_SEALS) & sealed) == sealed && fcntl((int)fd, F_GET_SEALS) > 0)
		result = (int)fd;
	unsetenv(HANDOVER_VARIABLE);
	if (result >= 0)
		fd_set_cloexec(result, true);
	return result;
}

/* A descriptor that the state names and that is open: ours from now on. Else -1. */
static int take_fd(json_int_t number)
{
	if (number < 3 || number > INT32_MAX || fd_set_cloexec((int)number, true) < 0)
		return -1;
	return (int)number;
}

static void unpack_counters(json_t *array, struct tally *ret_tally)
{
	uint64_t *counters = (uint64_t *)ret_tally;

	for (size_t i = 0; i < sizeof(*ret_tally) / sizeof(*counters); i++)
		counters[i] = (uint64_t)json_integer_value(json_array_get(array, i));
}

/* A state of an older version has none: then it is the one that was found. */
static struct unix_file unpack_file(json_t *array, struct unix_file found)
{
	json_int_t device, inode;

	if (json_unpack(array, "[I,I]", &device, &inode) < 0)
		return found;
	return (struct unix_file){ (dev_t)device, (ino_t)inode };
}

static int restore_sockets(struct supervisor *supervisor, json_t *state)
{
	size_t index;
	json_t *item;

	supervisor->sockets.passed = json_is_true(json_object_get(state, "passed"));
	json_array_foreach(json_object_get(state, "sockets"), index, item) {
		bool is_any_port = json_is_true(json_object_get(item, "any_port"));
		int fd = take_fd(json_integer_value(json_object_get(item, "fd")));
		int result = fd < 0 ? -EBADF : sockets_add(&supervisor->sockets, fd, is_any_port);

		if (result < 0)
			return result;
		supervisor->sockets.items[index].file =
			unpack_file(json_object_get(item, "file"),
				    supervisor->sockets.items[index].file);
	}
	return supervisor->sockets.count ? 0 : -ENOTSOCK;
}

/* A generation that we do not understand: it is told to stop, and waited for. */
static void stop_stranger(json_t *item)
{
	struct message message = { .type = MESSAGE_STOP };
	int fd = take_fd(json_integer_value(json_object_get(item, "channel")));

	if (fd < 0 || send(fd, &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
	log_notice("listener %lld is of another version and drains by itself",
		   (long long)json_integer_value(json_object_get(item, "pid")));
	/* The descriptor stays open as long as we run: a closed channel means that echod died. */
}

static int unpack_orphans(json_t *array, uint32_t slots, struct orphans *ret_orphans)
{
	size_t count = json_array_size(array);
	struct orphans made = { .items = calloc(count ? count : 1, sizeof(*made.items)) };
	size_t index;
	json_t *item;

	if (!made.items)
		return -ENOMEM;
	/* The order is that of the list that was handed over, by process id. */
	json_array_foreach(array, index, item) {
		json_int_t slot = json_integer_value(json_array_get(item, 1));

		if (slot < 0 || slot >= slots)
			continue;
		made.items[made.count++] = (struct orphan){
			.pid = (pid_t)json_integer_value(json_array_get(item, 0)),
			.slot = (uint32_t)slot,
		};
	}
	made.live = made.count;
	*ret_orphans = made;
	return 0;
}

static int unpack_paths(json_t *array, struct generation *generation)
{
	size_t index;
	json_t *item;

	generation->unix_paths = calloc(json_array_size(array) + 1, sizeof(char *));
	if (!generation->unix_paths)
		return -ENOMEM;
	json_array_foreach(array, index, item) {
		const char *path = json_string_value(item);

		if (path && !(generation->unix_paths[index] = strdup(path)))
			return -ENOMEM;
		generation->socket_count = index + 1;
	}
	return 0;
}

static bool is_of_size(int fd, uint64_t bytes)
{
	struct stat status;

	return fd >= 0 && fstat(fd, &status) == 0 && (uint64_t)status.st_size == bytes;
}

static int restore_scoreboard(struct generation *generation, json_int_t table, json_int_t slot,
			      json_int_t command, json_int_t count)
{
	FD_CLEANUP int table_fd = take_fd(table);
	FD_CLEANUP int slots_fd = take_fd(slot);
	FD_CLEANUP int commands_fd = take_fd(command);
	uint32_t slots = (uint32_t)count;
	int result;

	if (count < 1 || count > SETTINGS_MAX_CONNECTIONS)
		return -EBADF;
	if (!is_of_size(table_fd, scoreboard_table_bytes(slots)) ||
	    !is_of_size(slots_fd, scoreboard_slots_bytes(slots)) ||
	    !is_of_size(commands_fd, scoreboard_commands_bytes(slots)))
		return -EBADF;
	result = scoreboard_adopt(table_fd, slots_fd, commands_fd, slots,
				  &generation->scoreboard);
	if (result == 0) {
		fd_steal(&table_fd);
		fd_steal(&slots_fd);
		fd_steal(&commands_fd);
	}
	return result;
}

static int unpack_generation(json_t *item, struct generation *generation)
{
	json_int_t table, slot, command, slots, connections;
	json_int_t number, started_ns, ready_ns;
	json_t *paths, *orphans, *adopted;
	int channel, state, stopped;
	int result;

	if (json_unpack(item, "{s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i,"
			" s:b, s:o, s:o, s:o}",
			"pid", &generation->listener_pid, "channel", &channel, "table", &table,
			"slot", &slot, "command", &command, "slots", &slots, "connections", &connections,
			"number", &number, "started_ns", &started_ns, "ready_ns", &ready_ns,
			"state", &state, "stopped", &stopped, "unix_paths", &paths,
			"orphans", &orphans, "adopted", &adopted) < 0)
		return -EBADMSG;
	generation->channel_fd = take_fd(channel);
	generation->connections = (uint32_t)connections;
	generation->number = (uint64_t)number;
	generation->started_ns = (uint64_t)started_ns;
	generation->ready_ns = (uint64_t)ready_ns;
	generation->state = (enum generation_state)state;
	generation->stopped = stopped;
	unpack_counters(adopted, &generation->adopted);
	result = restore_scoreboard(generation, table, slot, command, slots);
	if (result == 0)
		result = unpack_paths(paths, generation);
	if (result == 0)
		result = unpack_orphans(orphans, (uint32_t)slots, &generation->orphans);
	return result;
}

static int restore_generation(struct supervisor *supervisor, json_t *item)
{
	struct generation *generation = generation_new();
	int result;

	if (!generation)
		return -ENOMEM;
	result = unpack_generation(item, generation);
	if (result == 0)
		result = generation_watch(generation, supervisor->loop, &supervisor->hooks);
	if (result < 0) {
		generation_free(generation);
		return result;
	}
	generation->next = supervisor->generations;
	supervisor->generations = generation;
	if (generation->state == GENERATION_SERVING)
		supervisor->current = generation;
	return 0;
}

/* From the oldest to the newest, so that the newest is the first of the list again. */
static int restore_generations(struct supervisor *supervisor, json_t *array, bool is_ours)
{
	for (size_t i = json_array_size(array); i-- > 0;) {
		json_t *item = json_array_get(array, i);
		int result = 0;

		if (!is_ours ||
		    json_integer_value(json_object_get(item, "wire")) != WIRE_VERSION)
			stop_stranger(item);
		else
			result = restore_generation(supervisor, item);
		if (result < 0)
			return result;
	}
	return 0;
}

/* The settings that were in force, until the reload that follows brings those of the file. */
static int restore_settings(struct supervisor *supervisor, json_t *state)
{
	FD_CLEANUP int fd = take_fd(json_integer_value(json_object_get(state, "settings")));
	FD_CLEANUP int listener_fd =
		take_fd(json_integer_value(json_object_get(state, "listener")));
	const char *path = supervisor->options->configuration_path;
	int result = -EBADF;

	if (fd >= 0)
		result = configuration_load(path, fd, 0, log_report, NULL,
					    &supervisor->configuration);
	if (result < 0)
		result = configuration_default(&supervisor->configuration);
	if (result < 0)
		return result;
	log_set_level(supervisor->configuration->log.level);
	log_open(supervisor->configuration->log.target, supervisor->configuration->log.facility);
	supervisor->configuration_fd =
		take_fd(json_integer_value(json_object_get(state, "configuration")));
	if (supervisor->listener.fd < 0)
		supervisor->listener.fd = fd_steal(&listener_fd);
	return 0;
}

/* Of a state of another version nothing but the sockets. */
static void restore_counters(struct supervisor *supervisor, json_t *state)
{
	json_int_t count, restarts, dropped, suppressed, lost;
	json_int_t started_ns, started_us, reloaded_us;
	json_t *retired;

	if (json_unpack(state, "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
			"generation_count", &count, "listener_restarts", &restarts,
			"events_dropped", &dropped, "log_suppressed", &suppressed,
			"log_lost", &lost,
			"started_ns", &started_ns, "started_realtime_us", &started_us,
			"reloaded_realtime_us", &reloaded_us, "retired", &retired) < 0)
		return;
	supervisor->generation_count = (uint64_t)count;
	supervisor->listener_restarts = (uint64_t)restarts;
	supervisor->events_dropped = (uint64_t)dropped;
	supervisor->report.suppressed = (uint64_t)suppressed;
	log_resume((uint64_t)lost);
	supervisor->started_ns = (uint64_t)started_ns;
	supervisor->started_realtime_us = (uint64_t)started_us;
	supervisor->reloaded_realtime_us = (uint64_t)reloaded_us;
	unpack_counters(retired, &supervisor->retired);
}

static void restore_control(struct supervisor *supervisor, json_t *state)
{
	FD_CLEANUP int fd = take_fd(json_integer_value(json_object_get(state, "control")));
	json_t *group = json_object_get(state, "control_group");
	gid_t gid = json_is_integer(group) ? (gid_t)json_integer_value(group) : CONTROL_NO_GROUP;

	struct unix_file file = unpack_file(json_object_get(state, "control_file"),
					    (struct unix_file){ 0 });

	if (fd >= 0 && control_adopt(supervisor, fd, gid, file, &supervisor->control) == 0)
		fd_steal(&fd);
}

static int restore(struct supervisor *supervisor, json_t *state)
{
	bool is_ours = json_integer_value(json_object_get(state, "version")) == HANDOVER_VERSION;
	int result = restore_sockets(supervisor, state);

	if (result == 0)
		result = restore_settings(supervisor, state);
	if (result < 0)
		return result;
	if (is_ours)
		restore_counters(supervisor, state);
	restore_control(supervisor, state);
	return restore_generations(supervisor, json_object_get(state, "generations"), is_ours);
}

int handover_restore(struct supervisor *supervisor, int state_fd)
{
	json_error_t error;
	json_t *state;
	int result;

	lseek(state_fd, 0, SEEK_SET);
	state = json_loadfd(state_fd, 0, &error);
	if (!state) {
		log_error("the state that was handed over is damaged: %s", error.text);
		return -EBADMSG;
	}
	result = restore(supervisor, state);
	if (result < 0)
		log_errno(LOG_ERR, result, "the state that was handed over cannot be used");
	json_decref(state);
	return result;
}
