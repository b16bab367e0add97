/* SPDX-License-Identifier: MIT */
/* Whole reads and writes. */
#include "base/io.h"

#include <errno.h>
#include <unistd.h>

int io_write_all(int fd, const void *bytes, size_t size)
{
	const char *next = bytes;

	while (size > 0) {
		ssize_t n = write(fd, next, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		next += n;
		size -= (size_t)n;
	}
	return 0;
}

ssize_t io_read_full(int fd, void *bytes, size_t size)
{
	char *next = bytes;
	size_t left = size;

	while (left > 0) {
		ssize_t n = read(fd, next, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		next += n;
		left -= (size_t)n;
	}
	return (ssize_t)(size - left);
}
