/* SPDX-License-Identifier: MIT */
/* --inetd: the connection comes from descriptor 0, the supervisor serves it like any other. */
#include "echod/inetd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/sockets/sockets.h"
#include "echod/supervisor/supervisor.h"
#include "wire/endpoint.h"

/* Returns the enum endpoint_family of a connected stream socket, or -errno. */
static int connection_family(int fd)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);
	int type = 0;
	socklen_t type_length = sizeof(type);
	struct endpoint endpoint;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_length) < 0)
		return -errno;
	if (type != SOCK_STREAM)
		return -EPROTOTYPE;
	if (getpeername(fd, (struct sockaddr *)&peer, &length) < 0)
		return -errno;
	endpoint_set(&endpoint, &peer);
	return endpoint.family == ENDPOINT_NONE ? -EAFNOSUPPORT : endpoint.family;
}

static bool is_same_file(int left_fd, int right_fd)
{
	struct stat left, right;

	return fstat(left_fd, &left) == 0 && fstat(right_fd, &right) == 0 &&
	       left.st_dev == right.st_dev && left.st_ino == right.st_ino;
}

int inetd_take_connection(void)
{
	FD_CLEANUP int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	FD_CLEANUP int connection_fd = -1;
	int family = connection_family(STDIN_FILENO);

	if (family < 0)
		return family;
	connection_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (null_fd < 0 || connection_fd < 0)
		return -errno;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (is_same_file(fd, connection_fd) && dup2(null_fd, fd) < 0)
			return -errno;
	return fd_steal(&connection_fd);
}

int inetd_serve(struct configuration *configuration, int connection_fd)
{
	struct sockets sockets = { .items = calloc(1, sizeof(*sockets.items)), .passed = true };

	if (!sockets.items) {
		fd_close(connection_fd);
		configuration_free(configuration);
		return -ENOMEM;
	}
	sockets.count = 1;
	sockets.items[0].fd = connection_fd;
	sockets.items[0].wire.family = (uint8_t)connection_family(connection_fd);
	sockets.items[0].wire.wildcard = 1;
	return supervise_single(configuration, &sockets);
}
