/* SPDX-License-Identifier: MIT */
/* Opening the configuration file: by its path, else by the descriptor that was kept. */
#include "echod/command_line/effective.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/configuration/source.h"

static const char *last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* False for a file that was renamed ("echod.conf~") or removed ("echod.conf (deleted)"). */
static bool has_name(int fd, const char *path)
{
	char link[32], name[PATH_MAX];
	ssize_t size;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	size = readlink(link, name, sizeof(name) - 1);
	if (size < 0)
		return false;
	name[size] = '\0';
	return strcmp(last_name(name), last_name(path)) == 0;
}

/*
 * Whether the file that was open before still stands at path, which cannot be opened: as far as
 * that can be told where the path cannot be walked either.
 */
static bool is_file_of(int held_fd, const char *path)
{
	struct stat held, status;
	char target[PATH_MAX];
	ssize_t size;

	if (fstat(held_fd, &held) < 0)
		return false;
	if (stat(path, &status) == 0)
		return status.st_dev == held.st_dev && status.st_ino == held.st_ino;
	if (errno != EACCES)
		return false;
	size = readlink(path, target, sizeof(target) - 1);
	if (size < 0)
		return has_name(held_fd, path);
	target[size] = '\0';
	return has_name(held_fd, target);
}

/* A descriptor of its own at offset 0, or -1: the loader then says why the path fails. */
static int file_open(const char *path, int held_fd)
{
	int fd = source_open(path);

	if (fd >= 0)
		return fd;
	if (fd != -EACCES || held_fd < 0 || !is_file_of(held_fd, path))
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
	result = options_load_configuration(options, fd, report, context, ret_configuration);

	if (result == 0)
		*ret_fd = fd_steal(&fd);
	return result;
}
