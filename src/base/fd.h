/* SPDX-License-Identifier: MIT */
/* Ownership of file descriptors: one owner, closed once, moved explicitly. */
#ifndef ECHOD_BASE_FD_H
#define ECHOD_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Closes fd when it is >= 0, keeps errno. Returns -1, so that one can write fd = fd_close(fd). */
int fd_close(int fd);

static inline void fd_closep(int *fd)
{
	*fd = fd_close(*fd);
}

/* Closes the descriptor when the variable goes out of scope. Start it with -1. */
#define FD_CLEANUP __attribute__((cleanup(fd_closep)))

/* Takes the descriptor out of *fd: the caller owns it, *fd is -1. */
static inline int fd_steal(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

/* 0 or -errno of fcntl(2). */
int fd_set_nonblocking(int fd, bool on);
int fd_set_cloexec(int fd, bool on);

/* Close-on-exec for all from first on. */
void fd_set_cloexec_from(int first);

/*
 * How long a call that sends may wait, in microseconds; 0 = for ever. A connect(2) to a Unix
 * socket with a full backlog heeds it too (unix(7)). Returns 0 or -errno of setsockopt(2).
 */
int fd_set_send_timeout(int fd, uint64_t timeout_us);

/*
 * Creates a memory file (memfd_create(2)) with these bytes and seals it against every change.
 * Returns the descriptor (close-on-exec, the caller owns it) or -errno.
 */
int fd_sealed_memory(const char *name, const void *bytes, size_t size);

#endif
