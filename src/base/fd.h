/* SPDX-License-Identifier: MIT */
/* File descriptors: one owner, closed once, moved explicitly; whole reads and writes. */
#ifndef ECHOD_BASE_FD_H
#define ECHOD_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

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

/* Writes all bytes, however many calls that takes (blocking fd). Returns 0 or -errno. */
int fd_write_all(int fd, const void *bytes, size_t size);

/* Reads until size bytes or end of file. Returns the count or -errno. */
ssize_t fd_read_full(int fd, void *bytes, size_t size);

/* The size of a file in bytes; 0: it is no regular file. */
uint64_t fd_file_bytes(int fd);

/* Returns 0 or -errno of fcntl(2). */
int fd_set_nonblocking(int fd, bool on);
int fd_set_cloexec(int fd, bool on);

/* Sets close-on-exec on first and all descriptors above it. */
void fd_set_cloexec_from(int first);

/*
 * How long a call that sends may wait, in microseconds; 0 = for ever. It also limits a connect(2)
 * to a Unix socket with a full backlog (unix(7)). Returns 0 or -errno of setsockopt(2).
 */
int fd_set_send_timeout(int fd, uint64_t timeout_us);

/*
 * Creates a memory file (memfd_create(2)) with these bytes and seals it against every change.
 * Returns the descriptor (close-on-exec, the caller owns it) or -errno.
 */
int fd_sealed_memory(const char *name, const void *bytes, size_t size);

/*
 * Replaces path by a file with these bytes and this mode. Readers see the whole old file or the
 * whole new one. The new one is first written as path.new in the same folder, where it replaces any
 * other file. If that fails, as on a full disk, path.new is removed and path stays as it was.
 * Returns 0 or -errno.
 */
int fd_replace_file(const char *path, const void *bytes, size_t size, mode_t mode);

#endif
