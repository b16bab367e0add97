/* SPDX-License-Identifier: MIT */
/*
 * How an upgrade goes. The process stays, so everything that the kernel keeps for a process stays
 * as well: its id, its children, and the descriptors that exec(3) does not close. Only what is in
 * memory would be lost. It goes over in a block (block.h), a sealed memory file.
 *
 * 1. A reload finds another program at our path (handover_is_due) and waits until the event loop
 *    is idle. sd-event reads signals ahead, and one that it has read would be lost.
 * 2. The old program writes the settings in force as the text of a configuration file, and the
 *    block, which names that file and all descriptors that matter. These are kept open then.
 * 3. Rehearsal: the new program runs as a child with the same arguments and the same descriptors.
 *    take.c fills a supervisor from the block, then the child ends by _exit(2), for what it took
 *    is still ours: it must not unlink a socket or stop a listener. Whatever it would stumble over
 *    as the real one it stumbles over now. A child that is not done in five seconds is killed.
 * 4. The block is written once more, since counters and the log have moved on, and exec(3) turns
 *    this process into the new program. It starts like any other (main.c), finds the variable, and
 *    take.c fills the supervisor in earnest.
 * 5. The new program reaps the children that have ended meanwhile, reads the rings, and reloads
 *    (supervise_again). That starts a listener from the program and the file on disk, and the old
 *    listeners stop when it is ready, as with any other reload.
 *
 * If 2 or 3 fails the descriptors are set to be closed again, the reload goes on without a new
 * program, and the next one tries again. After 4 there is no way back.
 *
 * The two programs may be of different versions. Values have names, and each program takes those
 * that it knows. What a listener and its workers share with us has a version of its own, which
 * each generation brings along: one of another version is a stranger (generation.h).
 */
#include "echod/handover/handover.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "echod/control/control.h"
#include "echod/handover/block.h"
#include "echod/log/log.h"

#define REHEARSAL_DEADLINE_NS (5 * (uint64_t)CLOCK_NS_PER_S)
#define REHEARSAL_LOOK_MS 5

static struct {
	char path[PATH_MAX];	/* "": unknown */
	struct stat status;
	char **argv;
} program;

void handover_remember_program(char **argv)
{
	ssize_t length = readlink("/proc/self/exe", program.path, sizeof(program.path) - 1);

	assert(argv);
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

/* A memory file with what was written to a stream, which is closed. bytes is freed. */
static int seal(const char *name, FILE *stream, char **bytes, size_t *size)
{
	int fd = fclose(stream) == 0 ? fd_sealed_memory(name, *bytes, *size) : -errno;

	free(*bytes);
	if (fd >= 0)
		fd_set_cloexec(fd, false);
	return fd;
}

/* The settings in force as the text of a configuration file, or -errno. */
static int give_settings(const struct configuration *configuration)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);

	if (!stream)
		return -errno;
	configuration_print(configuration, stream);
	return seal("echod-settings", stream, &text, &size);
}

static void put_all(FILE *stream, const struct supervisor *supervisor, struct block_rest *rest)
{
	struct tally retired = supervisor->retired;

	for (size_t i = 0; i < supervisor->sockets.count; i++)
		block_put(stream, BLOCK_SOCKET, rest->socket_count++,
			  &supervisor->sockets.items[i]);
	for (const struct generation *i = supervisor->generations; i; i = i->next) {
		block_put(stream, BLOCK_GENERATION, rest->generation_count++, i);
		/* Only their sum is asked for. */
		tally_add(&retired, &i->adopted);
	}
	block_put(stream, BLOCK_TALLY, 0, &retired);
	block_put(stream, BLOCK_SUPERVISOR, 0, supervisor);
	block_put(stream, BLOCK_REST, 0, rest);
}

/* Returns the block or -errno. All that it names is kept open over exec(3) from now on. */
static int give_block(const struct supervisor *supervisor, int settings_fd, bool is_rehearsal)
{
	struct block head = { .magic = BLOCK_MAGIC, .is_rehearsal = is_rehearsal };
	struct log_state log;
	struct block_rest rest;
	char *bytes = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&bytes, &size);

	if (!stream)
		return -errno;
	log_save(&log);
	rest = (struct block_rest){
		.settings_fd = settings_fd,
		.control_fd = control_fd(supervisor->control),
		.control_group = control_group(supervisor->control),
		.control_file = control_file(supervisor->control),
		.log_target = log.target,
		.log_lost = log.lost,
		.log_lost_unsaid = log.lost_unsaid,
		.log_is_torn = log.is_torn,
	};
	fwrite(&head, sizeof(head), 1, stream);
	put_all(stream, supervisor, &rest);
	head.record_count = (uint32_t)(((size_t)ftell(stream) - sizeof(head)) /
				       sizeof(struct block_record));
	head.line_bytes = (uint32_t)log.size;
	fwrite(log.lines, 1, log.size, stream);
	if (fflush(stream) == 0)
		memcpy(bytes, &head, sizeof(head));
	return seal("echod-handover", stream, &bytes, &size);
}

/* Returns the wait status of child, which is killed if it does not end in time, or -errno. */
static int wait_for(pid_t child)
{
	uint64_t deadline_ns = clock_now_ns() + REHEARSAL_DEADLINE_NS;
	int status;
	pid_t pid;

	while ((pid = waitpid(child, &status, WNOHANG)) == 0) {
		if (clock_now_ns() >= deadline_ns) {
			kill(child, SIGKILL);
			waitpid(child, &status, 0);
			return -ETIMEDOUT;
		}
		poll(NULL, 0, REHEARSAL_LOOK_MS);
	}
	return pid < 0 ? -errno : status;
}

/* Runs the program as a child that takes everything over and ends. Returns 0 or -errno. */
static int rehearse(void)
{
	posix_spawn_file_actions_t actions;
	pid_t child;
	int r = -posix_spawn_file_actions_init(&actions);

	if (r < 0)
		return r;
	for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO && r == 0; fd++)
		r = -posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
	if (r == 0)
		r = -posix_spawn(&child, program.path, &actions, NULL, program.argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r == 0)
		r = wait_for(child);
	if (r <= 0)
		return r;
	log_error("%s: the rehearsal ends with wait status 0x%x", program.path, r);
	return -ENOEXEC;
}

/* Returns 0 after a rehearsal, else only if it failed, -errno. */
static int hand_over(const struct supervisor *supervisor, int settings_fd, bool is_rehearsal)
{
	FD_CLEANUP int block_fd = give_block(supervisor, settings_fd, is_rehearsal);
	char number[16];
	int r;

	if (block_fd < 0)
		return block_fd;
	snprintf(number, sizeof(number), "%d", block_fd);
	setenv(HANDOVER_VARIABLE, number, 1);
	if (is_rehearsal)
		r = rehearse();
	else
		r = execv(program.path, program.argv) < 0 ? -errno : 0;
	unsetenv(HANDOVER_VARIABLE);
	return r;
}

int handover_execute(struct supervisor *supervisor)
{
	FD_CLEANUP int settings_fd = -1;
	int r;

	assert(*program.path);
	settings_fd = give_settings(supervisor->configuration);
	r = settings_fd < 0 ? settings_fd : hand_over(supervisor, settings_fd, true);
	if (r == 0) {
		/* A window that is still open: what it left out is said, here for the last time. */
		report_flush(&supervisor->report, clock_now_ns() + CLOCK_NS_PER_S);
		log_notice("%s has changed on disk and takes over", program.path);
		r = hand_over(supervisor, settings_fd, false);
	}
	fd_set_cloexec_from(STDERR_FILENO + 1);
	log_errno(LOG_ERR, r, "%s cannot take over, going on with the old program", program.path);
	return r;
}
