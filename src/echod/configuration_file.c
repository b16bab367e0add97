/* SPDX-License-Identifier: MIT */
/* Opening the configuration file: by its path, else by the descriptor that was kept. */
#include "echod/configuration_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/configuration_source.h"

/* A descriptor of its own at offset 0, or -1: the loader then says why the path fails. */
static int file_open(const char *path, int held_fd)
{
	struct stat status;
	int fd = source_open(path);

	if (fd >= 0)
		return fd;
	if (fd != -EACCES || held_fd < 0)
		return -1;
	if (fstat(held_fd, &status) < 0 || !status.st_nlink)
		return -1;
	fd = fcntl(held_fd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0)
		lseek(fd, 0, SEEK_SET);
	return fd;
}

int configuration_file_load(const struct options *options, int held_fd, bool may_wait,
			    configuration_report_fn report, void *context,
			    struct configuration **ret_configuration, int *ret_fd)
{
	FD_CLEANUP int fd = file_open(options->configuration_path, held_fd);
	int result;

	if (fd >= 0 && may_wait)
		fd_set_nonblocking(fd, false);
	result = options_load_configuration(options, fd, may_wait, report, context,
					    ret_configuration);

	if (result == 0)
		*ret_fd = fd_steal(&fd);
	return result;
}
