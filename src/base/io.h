/* SPDX-License-Identifier: MIT */
/* Whole reads and writes: EINTR, short reads and short writes are normal. */
#ifndef ECHOD_BASE_IO_H
#define ECHOD_BASE_IO_H

#include <stddef.h>
#include <sys/types.h>

/* Writes all bytes, however many calls that takes (blocking fd). Returns 0 or -errno. */
int io_write_all(int fd, const void *bytes, size_t size);

/* Reads until size bytes or end of file. Returns the count or -errno. */
ssize_t io_read_full(int fd, void *bytes, size_t size);

#endif
