/* SPDX-License-Identifier: MIT */
/* Writing beside a file and renaming over it. */
#include "base/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

static int write_new(const char *path, const void *bytes, size_t size, mode_t mode)
{
	int fd, r;

	/* whatever stood there is not opened: a FIFO would block, a link lead to another file */
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	/* the umask does not decide who may read it */
	r = fchmod(fd, mode) < 0 ? -errno : io_write_all(fd, bytes, size);
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r;
}

int replace_file(const char *path, const void *bytes, size_t size, mode_t mode)
{
	char temporary[PATH_MAX];
	int r;

	if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	r = write_new(temporary, bytes, size, mode);
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(temporary);
	return r;
}
