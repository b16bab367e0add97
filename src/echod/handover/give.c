/* SPDX-License-Identifier: MIT */
/* The side that hands over: state as JSON in a sealed memory file, descriptors kept open, exec. */
#include "echod/handover/give.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echod/control/control.h"
#include "echod/handover/state.h"
#include "echod/log/log.h"

#define PROBE_DEADLINE_MS 5000

static struct {
	char path[PATH_MAX];	/* "": unknown */
	struct stat status;
	char **argv;
} program;

void handover_remember_program(char **argv)
{
	ssize_t length = readlink("/proc/self/exe", program.path, sizeof(program.path) - 1);

	program.argv = argv;
	if (length < 0 || stat("/proc/self/exe", &program.status) < 0)
		length = 0;
	program.path[length] = '\0';
}

bool handover_is_due(void)
{
	struct stat now;

	if (!*program.path || stat(program.path, &now) < 0)
		return false;
	return now.st_dev != program.status.st_dev || now.st_ino != program.status.st_ino ||
	       now.st_mtim.tv_sec != program.status.st_mtim.tv_sec ||
	       now.st_mtim.tv_nsec != program.status.st_mtim.tv_nsec;
}

static json_t *pack_counters(const struct tally *tally)
{
	const uint64_t *counters = (const uint64_t *)tally;
	json_t *array = json_array();

	for (size_t i = 0; i < sizeof(*tally) / sizeof(*counters); i++)
		json_array_append_new(array, json_integer((json_int_t)counters[i]));
	return array;
}

static json_t *pack_orphans(const struct orphans *orphans)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < orphans->count; i++)
		if (!orphans->items[i].ended)
			json_array_append_new(array, json_pack("[i,I]", orphans->items[i].pid,
							       (json_int_t)orphans->items[i].slot));
	return array;
}

static json_t *pack_paths(const struct generation *generation)
{
	json_t *array = json_array();

	for (size_t i = 0; i < generation->socket_count; i++)
		json_array_append_new(array, json_pack("s?", generation->unix_paths[i]));
	return array;
}

static json_t *pack_generation(const struct generation *generation)
{
	return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:i,"
			 " s:b, s:o, s:o, s:o}",
			 "pid", generation->listener_pid,
			 "channel", generation->channel_fd,
			 "wire", (int)generation->wire_version,
			 "table", generation->scoreboard.table_fd,
			 "slot", generation->scoreboard.slots_fd,
			 "command", generation->scoreboard.commands_fd,
			 "slots", (json_int_t)generation->scoreboard.slots,
			 "connections", (json_int_t)generation->connections,
			 "number", (json_int_t)generation->number,
			 "started_ns", (json_int_t)generation->started_ns,
			 "ready_ns", (json_int_t)generation->ready_ns,
			 "state", generation->state,
			 "stopped", generation->stopped,
			 "unix_paths", pack_paths(generation),
			 "orphans", pack_orphans(&generation->orphans),
			 "adopted", pack_counters(&generation->adopted));
}

/* Newest first, as they stand in the supervisor. */
static json_t *pack_generations(const struct supervisor *supervisor)
{
	json_t *array = json_array();

	for (struct generation *i = supervisor->generations; i; i = i->next)
		json_array_append_new(array, pack_generation(i));
	return array;
}

static json_t *pack_file(struct unix_file file)
{
	return json_pack("[I,I]", (json_int_t)file.device, (json_int_t)file.inode);
}

static json_t *pack_sockets(const struct sockets *sockets)
{
	json_t *array = json_array();

	for (size_t i = 0; i < sockets->count; i++) {
		const struct listening_socket *item = &sockets->items[i];

		json_array_append_new(array, json_pack("{s:i, s:b, s:o}", "fd", item->fd,
						       "any_port", item->is_any_port,
						       "file", pack_file(item->file)));
	}
	return array;
}

static json_t *pack_supervisor(const struct supervisor *supervisor, int settings_fd)
{
	return json_pack("{s:i, s:b, s:o, s:o, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I,"
			 " s:I, s:I, s:I, s:o, s:o}",
			 "version", HANDOVER_VERSION,
			 "passed", supervisor->sockets.passed,
			 "sockets", pack_sockets(&supervisor->sockets),
			 "generations", pack_generations(supervisor),
			 "settings", settings_fd,
			 "configuration", supervisor->configuration_fd,
			 "listener", supervisor->listener.fd,
			 "control", control_fd(supervisor->control),
			 "control_group", (json_int_t)control_group(supervisor->control),
			 "generation_count", (json_int_t)supervisor->generation_count,
			 "listener_restarts", (json_int_t)supervisor->listener_restarts,
			 "events_dropped", (json_int_t)supervisor->events_dropped,
			 "log_suppressed", (json_int_t)supervisor->report.suppressed,
			 "log_lost", (json_int_t)log_lost(),
			 "started_ns", (json_int_t)supervisor->started_ns,
			 "started_realtime_us", (json_int_t)supervisor->started_realtime_us,
			 "reloaded_realtime_us", (json_int_t)supervisor->reloaded_realtime_us,
			 "retired", pack_counters(&supervisor->retired),
			 "control_file", pack_file(control_file(supervisor->control)));
}

/* The settings in force as the text of a configuration file, or -errno. */
static int settings_write(const struct configuration *configuration)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	int fd;

	if (!stream)
		return -errno;
	configuration_print(configuration, stream);
	fd = fclose(stream) == 0 ? fd_sealed_memory("echod-configuration", text, size) : -errno;
	free(text);
	return fd;
}

static int state_write(const struct supervisor *supervisor, int settings_fd)
{
	json_t *state = pack_supervisor(supervisor, settings_fd);
	char *text = state ? json_dumps(state, JSON_COMPACT) : NULL;
	int fd = text ? fd_sealed_memory("echod-state", text, strlen(text)) : -ENOMEM;

	free(text);
	json_decref(state);
	return fd;
}

/* Everything that the state names survives exec(3), or is closed by it again. */
static void keep_descriptors(const struct supervisor *supervisor, int settings_fd, int state_fd,
			     bool keep)
{
	for (size_t i = 0; i < supervisor->sockets.count; i++)
		fd_set_cloexec(supervisor->sockets.items[i].fd, !keep);
	for (struct generation *i = supervisor->generations; i; i = i->next) {
		if (i->channel_fd >= 0)
			fd_set_cloexec(i->channel_fd, !keep);
		fd_set_cloexec(i->scoreboard.table_fd, !keep);
		fd_set_cloexec(i->scoreboard.slots_fd, !keep);
		fd_set_cloexec(i->scoreboard.commands_fd, !keep);
	}
	if (supervisor->configuration_fd >= 0)
		fd_set_cloexec(supervisor->configuration_fd, !keep);
	if (supervisor->listener.fd >= 0)
		fd_set_cloexec(supervisor->listener.fd, !keep);
	if (supervisor->control)
		fd_set_cloexec(control_fd(supervisor->control), !keep);
	fd_set_cloexec(settings_fd, !keep);
	fd_set_cloexec(state_fd, !keep);
}

/* One that does not end in time is killed. Returns the wait status of child or -errno. */
static int wait_for(pid_t child)
{
	struct pollfd ended = { .fd = pidfd_open(child, 0), .events = POLLIN };
	int status, result = 0;

	if (ended.fd < 0)
		result = -errno;
	else if (poll(&ended, 1, PROBE_DEADLINE_MS) <= 0)
		result = -ETIMEDOUT;
	fd_close(ended.fd);
	if (result < 0)
		kill(child, SIGKILL);
	if (waitpid(child, &status, 0) < 0 && result == 0)
		result = -errno;
	return result < 0 ? result : status;
}

/*
 * What the kernel can execute need not run: a library is missing, the file is not all there. Asked
 * for its version a program shows that while nothing is lost yet. Returns 0 or -errno.
 */
static int probe(void)
{
	char *const arguments[] = { program.argv[0], (char[]){ "-V" }, NULL };
	posix_spawn_file_actions_t actions;
	pid_t child;
	int result = posix_spawn_file_actions_init(&actions);

	if (result)
		return -result;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO && !result; fd++)
		result = posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
	if (!result)
		result = posix_spawn(&child, program.path, &actions, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (result)
		return -result;
	result = wait_for(child);
	if (result > 0)
		log_error("%s -V ends with wait status 0x%x", program.path, result);
	return result > 0 ? -ENOEXEC : result;
}

/* Returns only when it failed, -errno; nothing has changed then. */
static int execute(struct supervisor *supervisor)
{
	FD_CLEANUP int settings_fd = settings_write(supervisor->configuration);
	FD_CLEANUP int state_fd = settings_fd < 0 ? settings_fd :
						    state_write(supervisor, settings_fd);
	char number[16];
	int result = state_fd;

	/* A window that is still open: what it left out is said, here for the last time. */
	report_flush(&supervisor->report, clock_now_ns() + CLOCK_NS_PER_S);

	if (state_fd >= 0) {
		snprintf(number, sizeof(number), "%d", state_fd);
		setenv(HANDOVER_VARIABLE, number, 1);
		keep_descriptors(supervisor, settings_fd, state_fd, true);
		log_notice("%s has changed on disk and takes over", program.path);
		log_close();
		execv(program.path, program.argv);
		result = -errno;
		log_open(supervisor->configuration->log.target,
			 supervisor->configuration->log.facility);
		keep_descriptors(supervisor, settings_fd, state_fd, false);
		unsetenv(HANDOVER_VARIABLE);
	}
	return result;
}

int handover_execute(struct supervisor *supervisor)
{
	int result = probe();

	if (result == 0)
		result = execute(supervisor);
	log_errno(LOG_ERR, result, "%s cannot take over, going on with the old program",
		  program.path);
	return result;
}
