/* SPDX-License-Identifier: MIT */
/* The listener program: where it is, and how one is started. */
#ifndef ECHOD_GENERATION_LISTENER_PROGRAM_H
#define ECHOD_GENERATION_LISTENER_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct program {
	const char *path;	/* not owned */
	int fd;			/* owned; the program, whatever is at the path by now */
};

/*
 * The listener program: LISTENERDIR/echod-listener, or $ECHOD_LISTENER (for running from a
 * build tree; ignored in secure execution, secure_getenv(3)). Opens it. Returns 0 or -errno.
 */
int program_find_listener(struct program *ret_program);

/*
 * The program that is at the path of held by now, or held again if the path cannot be walked any
 * more (EACCES after the privileges are gone). Returns 0 or -errno.
 */
int program_open_next(const struct program *held, struct program *ret_program);

void program_release(struct program *program);

/* What a new process finds: fds[i] as descriptor LISTENER_FD_SETTINGS + i. */
struct program_start {
	const int *fds;
	size_t count;
	bool is_connection;	/* our standard error is the connection itself */
};

/*
 * Starts program in a session of its own, so that a terminal's Ctrl-C reaches echod only, with
 * all signals unblocked and at their defaults, an empty environment and no descriptors but
 * those. Returns 0 or -errno, that of exec(3) too.
 */
int program_spawn(const struct program *program, const struct program_start *start,
		  pid_t *ret_pid);

#endif
