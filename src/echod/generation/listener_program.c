/* SPDX-License-Identifier: MIT */
/* Starting the listener: posix_spawn(3) with exactly the descriptors that it shall have. */
#include "config.h"

#include "echod/generation/listener_program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "wire/settings.h"

#define PROGRAM_FD_MAX (LISTENER_FD_SOCKETS + SETTINGS_MAX_SOCKETS)

int program_find_listener(struct program *ret_program)
{
	const char *path = secure_getenv("ECHOD_LISTENER");

	if (!path || !*path)
		path = LISTENERDIR "/echod-listener";
	ret_program->path = path;
	ret_program->fd = open(path, O_PATH | O_CLOEXEC);
	return ret_program->fd < 0 ? -errno : 0;
}

int program_open_next(const struct program *held, struct program *ret_program)
{
	*ret_program = (struct program){ held->path, open(held->path, O_PATH | O_CLOEXEC) };
	if (ret_program->fd < 0 && errno == EACCES && held->fd >= 0)
		ret_program->fd = fcntl(held->fd, F_DUPFD_CLOEXEC, 0);
	return ret_program->fd < 0 ? -errno : 0;
}

/* By its path ps(1) shows the name of the program. */
static bool is_at_path(const struct program *program)
{
	struct stat held, found;

	return fstat(program->fd, &held) == 0 && stat(program->path, &found) == 0 &&
	       held.st_dev == found.st_dev && held.st_ino == found.st_ino;
}

void program_release(struct program *program)
{
	program->fd = fd_close(program->fd);
}

static int attributes_init(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	int error;

	sigemptyset(&none);
	sigfillset(&all);
	error = posix_spawnattr_init(attributes);
	if (error)
		return -error;
	posix_spawnattr_setsigmask(attributes, &none);
	posix_spawnattr_setsigdefault(attributes, &all);
	posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
						     POSIX_SPAWN_SETSIGDEF);
	return 0;
}

/* lifted: the descriptors above every target, so that no dup2() overwrites a source. */
static int actions_init(posix_spawn_file_actions_t *actions, const int *lifted,
			const struct program_start *start)
{
	int error = posix_spawn_file_actions_init(actions);

	if (error)
		return -error;
	error = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
	if (!error)
		error = posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
#ifdef INSTRUMENTED
	/* Sanitizers have something to say. */
	if (!error && start->is_connection)
#else
	if (!error)
#endif
		error = posix_spawn_file_actions_addopen(actions, 2, "/dev/null", O_WRONLY, 0);
	for (size_t i = 0; i < start->count && !error; i++)
		error = posix_spawn_file_actions_adddup2(actions, lifted[i],
							 LISTENER_FD_SETTINGS + (int)i);
	if (error)
		posix_spawn_file_actions_destroy(actions);
	return -error;
}

static int spawn_lifted(const struct program *program, int held_fd, const int *lifted,
			const struct program_start *start, pid_t *ret_pid)
{
	char *const environment[] = {
		/* rseq would be registered in every worker: 1 us a fork for nothing. */
		(char[]){ "GLIBC_TUNABLES=glibc.pthread.rseq=0" },
#ifdef INSTRUMENTED
		/* What a sanitizer finds is a crash, not an exit code that names an end. */
		(char[]){ "ASAN_OPTIONS=abort_on_error=1" },
		(char[]){ "UBSAN_OPTIONS=abort_on_error=1:print_stacktrace=1" },
#endif
		NULL
	};
	char *const arguments[] = { (char[]){ "echod-listener" }, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	char held[32];
	const char *path = is_at_path(program) ? program->path : held;
	pid_t pid;
	int error;

	error = actions_init(&actions, lifted, start);
	if (error < 0)
		return error;
	error = attributes_init(&attributes);
	if (error < 0) {
		posix_spawn_file_actions_destroy(&actions);
		return error;
	}
	snprintf(held, sizeof(held), "/proc/self/fd/%d", held_fd);
	error = posix_spawn(&pid, path, &actions, &attributes, arguments, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	if (!error)
		*ret_pid = pid;
	return -error;
}

/* The same descriptor above every target of start, or -errno; -1 stays -1. */
static int lift(int fd, const struct program_start *start)
{
	int lowest = LISTENER_FD_SETTINGS + (int)start->count;
	int lifted = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, lowest);

	return lifted < 0 && fd >= 0 ? -errno : lifted;
}

int program_spawn(const struct program *program, const struct program_start *start,
		  pid_t *ret_pid)
{
	FD_CLEANUP int held_fd = -1;
	int lifted[PROGRAM_FD_MAX];
	size_t count = 0;
	int r = 0;

	if (start->count > PROGRAM_FD_MAX)
		return -E2BIG;
	held_fd = lift(program->fd, start);
	for (; count < start->count && r == 0; count++) {
		lifted[count] = lift(start->fds[count], start);
		if (lifted[count] < 0)
			r = lifted[count];
	}
	if (r == 0)
		r = spawn_lifted(program, held_fd, lifted, start, ret_pid);
	while (count-- > 0)
		fd_close(lifted[count]);
	return r;
}
