/* SPDX-License-Identifier: MIT */
/* How a generation comes to life: scoreboard, settings, channel, process. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echod/generation/filter.h"
#include "echod/generation/generation.h"
#include "echod/generation/settings_block.h"
#include "echod/log/log.h"

/* Returns 0 also when there is none: sandbox = "off", or "auto" on a machine that has no way. */
static int filters_compile(const struct configuration *configuration,
			   struct filter *ret_listener, struct filter *ret_worker)
{
	bool is_strict = configuration->sandbox == SANDBOX_STRICT;
	int r;

	if (configuration->sandbox == SANDBOX_OFF)
		return 0;
	r = filter_compile(is_strict ? FILTER_LISTENER_STRICT : FILTER_LISTENER, ret_listener);
	if (r == 0 && is_strict)
		r = filter_compile(FILTER_WORKER, ret_worker);
	if (r == 0)
		return 0;
	if (configuration->sandbox == SANDBOX_AUTO) {
		log_errno(LOG_WARNING, r, FILTER_MISSING);
		return 0;
	}
	log_errno(LOG_ERR, r, "sandbox: cannot compile the system call filter");
	return r;
}

/* Returns the sealed block or -errno. */
static int settings_make(const struct generation_plan *plan)
{
	struct filter listener = {0};
	struct filter worker = {0};
	int r = filters_compile(plan->configuration, &listener, &worker);

	if (r == 0) {
		r = settings_block_write(plan->configuration, plan->sockets, plan->mode, &listener,
					 &worker);
		if (r < 0)
			log_errno(LOG_ERR, r, "settings for the listener");
	}
	filter_release(&listener);
	filter_release(&worker);
	return r;
}

static int listener_spawn(struct generation *generation, const struct generation_plan *plan,
			  int settings_fd, int channel_fd)
{
	FD_CLEANUP int commands_fd = scoreboard_open_commands(&generation->scoreboard);
	int fds[LISTENER_FD_SOCKETS - LISTENER_FD_SETTINGS + SETTINGS_MAX_SOCKETS] = {
		settings_fd, generation->scoreboard.table_fd, generation->scoreboard.slots_fd,
		commands_fd, channel_fd,
	};
	size_t count = LISTENER_FD_SOCKETS - LISTENER_FD_SETTINGS;
	struct program_start start = { .fds = fds, .is_connection = plan->mode == MODE_SINGLE };
	int r;

	if (commands_fd < 0) {
		log_errno(LOG_ERR, commands_fd, "commands for the listener");
		return commands_fd;
	}
	for (size_t i = 0; i < plan->sockets->count; i++)
		fds[count++] = plan->sockets->items[i].fd;
	start.count = count;
	r = program_spawn(plan->listener, &start, &generation->listener_pid);
	if (r < 0)
		log_errno(LOG_ERR, r, "%s", plan->listener->path);
	generation->group = generation->listener_pid;
	return r;
}

/* The log wants the paths of Unix sockets as long as the generation lives. */
static void paths_copy(struct table *table, const struct sockets *sockets)
{
	for (size_t i = 0; i < sockets->count; i++)
		if (sockets->items[i].unix_path)
			strncpy(table->unix_paths[i], sockets->items[i].unix_path,
				UNIX_PATH_BYTES - 1);
}

static int launch(struct generation *generation, const struct generation_plan *plan)
{
	FD_CLEANUP int settings_fd = -1;
	FD_CLEANUP int listener_end = -1;
	int ends[2];
	int r;

	r = scoreboard_create(settings_block_slots(plan->configuration, plan->mode),
			      &generation->scoreboard);
	if (r < 0) {
		log_errno(LOG_ERR, r, "scoreboard");
		return r;
	}
	paths_copy(generation->scoreboard.table, plan->sockets);
	atomic_store(&generation->scoreboard.table->foreign_live, plan->foreign_live);
	atomic_store(&generation->scoreboard.table->asleep, 1);
	settings_fd = settings_make(plan);
	if (settings_fd < 0)
		return settings_fd;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
		r = -errno;
		log_errno(LOG_ERR, r, "socketpair");
		return r;
	}
	generation->channel_fd = ends[0];
	listener_end = ends[1];
	return listener_spawn(generation, plan, settings_fd, listener_end);
}

int generation_start(struct sd_event *loop, const struct generation_plan *plan,
		     const struct generation_hooks *hooks, struct generation **ret_generation)
{
	struct generation *generation = generation_new();
	int r;

	assert(plan->sockets->count > 0);
	if (!generation)
		return -ENOMEM;
	generation->number = plan->number;
	generation->state = GENERATION_STARTING;
	generation->started_ns = clock_now_ns();
	generation->stopped = plan->mode == MODE_SINGLE;	/* it accepts nothing */
	r = launch(generation, plan);
	if (r == 0)
		r = generation_watch(generation, loop, hooks);
	if (r < 0) {
		generation_kill_listener(generation);
		generation_free(generation);
		return r;
	}
	*ret_generation = generation;
	return 0;
}
