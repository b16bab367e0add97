/* SPDX-License-Identifier: MIT */
/* Output that never blocks, so that the caller can wait for it with poll(2). */
#include "echoctl/output/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int output_open(int fd, struct output *ret_output)
{
	struct output output = { .fd = -1 };
	struct stat status;
	char path[32];

	if (fd >= 0) {
		if (fstat(fd, &status) < 0)
			return -errno;
		output.is_socket = S_ISSOCK(status.st_mode);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (S_ISFIFO(status.st_mode) || isatty(fd))
			output.fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		/* We may not open it (a pipe of another user): writes to it may block. */
		if (output.fd < 0)
			output.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (output.fd < 0)
			return -errno;
	}
	*ret_output = output;
	return 0;
}

ssize_t output_write(const struct output *output, const void *bytes, size_t size)
{
	ssize_t n;

	if (output->fd < 0)
		return (ssize_t)size;
	do {
		if (output->is_socket)
			n = send(output->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		else
			n = write(output->fd, bytes, size);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return n;
}

int output_close(struct output *output)
{
	int fd = output->fd;

	output->fd = -1;
	return fd >= 0 && close(fd) < 0 ? -errno : 0;
}
