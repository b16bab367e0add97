/* SPDX-License-Identifier: MIT */
/* The side that takes over: what the block says is checked, then it is ours. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/number.h"
#include "echod/control/control.h"
#include "echod/handover/block.h"
#include "echod/handover/handover.h"
#include "echod/log/log.h"

int handover_take(void)
{
	const int sealed = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;
	const char *text = secure_getenv(HANDOVER_VARIABLE);
	uint64_t fd;
	int taken = -1;

	/* A stranger's variable names no file that was sealed like ours. */
	if (text && number_parse(text, 3, INT32_MAX, &fd) == 0 &&
	    (fcntl((int)fd, F_GET_SEALS) & sealed) == sealed && fcntl((int)fd, F_GET_SEALS) > 0)
		taken = (int)fd;
	unsetenv(HANDOVER_VARIABLE);
	return taken;
}

static int take_sockets(struct supervisor *supervisor, const struct block_view *view,
			uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct listening_socket item = { .fd = -1 };
		int r;

		block_get(view, BLOCK_SOCKET, i, &item);
		r = item.fd < 0 ? -EBADF :
				  sockets_add(&supervisor->sockets, item.fd, item.is_any_port);
		if (r < 0)
			return r;
		/* Which file was bound there, which need not be the one that is found there. */
		block_get(view, BLOCK_SOCKET, i, &supervisor->sockets.items[i]);
	}
	return supervisor->sockets.count ? 0 : -ENOTSOCK;
}

static int load(struct supervisor *supervisor, int fd, configuration_report_fn report)
{
	/* The rehearsal has read the same open file to its end. */
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	return configuration_load(supervisor->options->configuration_path, fd, 0, report, NULL,
				  &supervisor->configuration);
}

static void ignore(void *context, const char *text)
{
	(void)context;
	(void)text;
}

/*
 * The settings that were in force, until the reload that follows brings those of the file. They may
 * have a key that we know no more: then the file that they came from.
 */
static int take_settings(struct supervisor *supervisor, const struct block_rest *rest)
{
	int r = load(supervisor, rest->settings_fd, ignore);

	fd_close(rest->settings_fd);
	return r < 0 ? load(supervisor, supervisor->configuration_fd, log_report) : r;
}

/* A rehearsal says no more than what is wrong, on standard error: the log is its parent's. */
static void take_log(const struct supervisor *supervisor, const struct block_view *view,
		     const struct block_rest *rest)
{
	const struct configuration *configuration = supervisor->configuration;
	const struct log_state log = {
		.target = rest->log_target,
		.lost = rest->log_lost,
		.lost_unsaid = rest->log_lost_unsaid,
		.is_torn = rest->log_is_torn,
		.lines = view->lines,
		.size = view->head->line_bytes,
	};

	log_set_level(view->head->is_rehearsal ? LOG_ERR : configuration->log.level);
	if (view->head->is_rehearsal)
		return;
	log_restore(&log);
	log_open(configuration->log.target, configuration->log.facility);
}

/* The workers of a dead listener stand in its table as long as they live. */
static int adopt(struct generation *generation)
{
	struct scoreboard *scoreboard = &generation->scoreboard;
	int r;

	/* kill(2) takes these for more than one process, or for all of them. */
	if (generation->listener_pid < 0 || generation->group <= 1 ||
	    generation->state > GENERATION_ORPHANED)
		return -EBADMSG;
	r = scoreboard_map(scoreboard, generation_is_stranger(generation));
	if (r == 0 && !generation->listener_pid && !generation_is_stranger(generation))
		r = orphans_list(scoreboard, &generation->orphans);
	return r;
}

static int take_generation(struct supervisor *supervisor, const struct block_view *view,
			   uint32_t index)
{
	struct generation *generation = generation_new();
	int r;

	if (!generation)
		return -ENOMEM;
	block_get(view, BLOCK_GENERATION, index, generation);
	r = adopt(generation);
	if (r == 0)
		r = generation_watch(generation, supervisor->loop, &supervisor->hooks);
	if (r < 0) {
		generation_free(generation);
		return r;
	}
	generation->next = supervisor->generations;
	supervisor->generations = generation;
	if (generation_is_stranger(generation))
		log_notice("listener %d is of another version, its connections are only counted",
			   generation->group);
	else if (generation->state == GENERATION_SERVING)
		supervisor->current = generation;
	return 0;
}

/* The program that serves is started again if it dies. If it is a stranger, the one on disk. */
static void take_listener(struct supervisor *supervisor)
{
	FD_CLEANUP int served_fd = fd_steal(&supervisor->listener.fd);

	program_find_listener(&supervisor->listener);
	if (served_fd < 0 || (!supervisor->current && supervisor->listener.fd >= 0))
		return;
	fd_close(supervisor->listener.fd);
	supervisor->listener.fd = fd_steal(&served_fd);
}

static int take_all(struct supervisor *supervisor, const struct block_view *view)
{
	struct block_rest rest = { .settings_fd = -1, .control_fd = -1 };
	int r;

	block_get(view, BLOCK_SUPERVISOR, 0, supervisor);
	block_get(view, BLOCK_REST, 0, &rest);
	block_get(view, BLOCK_TALLY, 0, &supervisor->retired);
	r = take_sockets(supervisor, view, rest.socket_count);
	if (r == 0)
		r = take_settings(supervisor, &rest);
	if (r < 0)
		return r;
	take_log(supervisor, view, &rest);
	if (rest.control_fd >= 0)
		r = control_adopt(supervisor, rest.control_fd, rest.control_group,
				  rest.control_file, &supervisor->control);
	/* From the oldest on, so that the newest is the first of the list again. */
	for (uint32_t i = rest.generation_count; i-- > 0 && r == 0;)
		r = take_generation(supervisor, view, i);
	take_listener(supervisor);
	return r;
}

int handover_restore(struct supervisor *supervisor, int block_fd, bool *ret_is_rehearsal)
{
	struct stat status = { 0 };
	struct block_view view;
	void *bytes = MAP_FAILED;
	int r = -EBADMSG;

	assert(supervisor->loop && block_fd >= 0);
	if (fstat(block_fd, &status) == 0)
		bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, block_fd, 0);
	if (bytes != MAP_FAILED)
		r = block_view(bytes, (size_t)status.st_size, &view);
	if (r == 0) {
		*ret_is_rehearsal = view.head->is_rehearsal;
		r = take_all(supervisor, &view);
	}
	if (bytes != MAP_FAILED)
		munmap(bytes, (size_t)status.st_size);
	if (r < 0)
		log_errno(LOG_ERR, r, "what was handed over cannot be used");
	return r;
}
