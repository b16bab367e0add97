/* SPDX-License-Identifier: MIT */
/* The settings that echod works with: the file, however it can be reached, and the options. */
#include "echod/command_line/effective.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
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
 * Whether the file that was open before still stands at path, which cannot be opened. If the path
 * cannot be walked either, the names have to do.
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

/*
 * Only root changes user, so the user must exist only then; but a test may be made for root, and a
 * reload does not know who will start echod the next time: only a user in force that does not exist
 * shows that it was not root. A single connection has no control socket.
 */
static unsigned needs(const struct options *options, const struct configuration *in_force)
{
	bool user = geteuid() == 0 || options->mode == OPTIONS_TEST;
	unsigned group = 0;

	if (in_force)
		user = !in_force->user_is_set || getpwnam(in_force->user);
	if (!options->inetd)
		group = CONFIGURATION_NEEDS_GROUP;
	/* root may give a file to any group, and a reload gives nothing away */
	if (group && !in_force && geteuid() != 0)
		group |= CONFIGURATION_NEEDS_GIVING;
	return group | (user ? CONFIGURATION_NEEDS_USER : 0);
}

int effective_load(const struct options *options, int held_fd,
		   const struct configuration *in_force, configuration_report_fn report,
		   void *context, struct configuration **ret_configuration, int *ret_fd)
{
	__attribute__((cleanup(configuration_freep))) struct configuration *configuration = NULL;
	FD_CLEANUP int fd = file_open(options->configuration_path, held_fd);
	int r;

	assert(report && ret_configuration);
	if (fd >= 0 && !in_force)
		fd_set_nonblocking(fd, false);
	r = configuration_load(options->configuration_path, fd, needs(options, in_force), report,
			       context, &configuration);
	if (r == 0 && options->listen_count > 0)
		r = configuration_override_listen(configuration, options->listen,
						  options->listen_count, report, context);
	if (r < 0)
		return r;
	if (options->log_level >= 0)
		configuration->log.level = options->log_level;
	*ret_configuration = configuration;
	configuration = NULL;
	if (ret_fd)
		*ret_fd = fd_steal(&fd);
	return 0;
}
