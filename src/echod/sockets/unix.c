/* SPDX-License-Identifier: MIT */
/*
 * Listening Unix sockets and their files. A file gets its mode from the umask at bind(2), and its
 * owner from privileges_lend() if others could interfere: the same path may lead elsewhere at the
 * next call.
 */
#include "echod/sockets/unix.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/privileges/privileges.h"
#include "echod/sockets/sockets.h"

struct unix_file unix_find(const char *path)
{
	struct stat status;

	if (lstat(path, &status) < 0 || !S_ISSOCK(status.st_mode))
		return (struct unix_file){0};
	return (struct unix_file){status.st_dev, status.st_ino};
}

void unix_remove(const char *path, struct unix_file file)
{
	privileges_lend(path, (gid_t)-1);
	if (unix_is_same(unix_find(path), file))
		unlink(path);
	privileges_take_back();
}

/*
 * Gives a file to its owner unless it belongs to it already; does not follow a link. Returns 0 or
 * -errno.
 */
static int give(const char *path, gid_t group)
{
	struct privileges_owner owner = privileges_owner();
	struct stat status;

	if (group != (gid_t)-1)
		owner.gid = group;
	if (lstat(path, &status) < 0)
		return -errno;
	if ((owner.uid == (uid_t)-1 || owner.uid == status.st_uid) &&
	    (owner.gid == (gid_t)-1 || owner.gid == status.st_gid))
		return 0;
	return fchownat(AT_FDCWD, path, owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int unix_make_folder(const char *path)
{
	char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;
	int r = folder ? 0 : -ENOMEM;

	if (slash && slash != folder) {
		*slash = '\0';
		privileges_lend(folder, (gid_t)-1);
		r = mkdir(folder, 0755) < 0 ? 0 : give(folder, (gid_t)-1);
		privileges_take_back();
	}
	free(folder);
	return r;
}

/* True if no process listens on the socket file any more. Other files are never stale. */
static bool is_stale(const struct sockaddr_un *address)
{
	FD_CLEANUP int fd = -1;

	if (unix_find(address->sun_path).inode == 0)
		return false;
	/* non-blocking: a full backlog must not block us, and proves that a process listens */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd >= 0 &&
	       connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
	       errno == ECONNREFUSED;
}

int unix_try(const char *path)
{
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct stat status;

	assert(path[0] == '/' && strlen(path) < sizeof(folder));
	if (lstat(path, &status) == 0)
		return S_ISSOCK(status.st_mode) ? 0 : -EADDRINUSE;
	*(char *)mempcpy(folder, path, (size_t)(strrchr(path, '/') - path) + 1) = '\0';
	/* another user may be let in */
	return access(folder, F_OK) == 0 || errno == EACCES ? 0 : -errno;
}

/* Calls bind(2), and gives the file away. Returns 0 or -errno as unix_listen() does. */
static int make_file(int fd, const struct sockaddr_un *un, gid_t group, const char **ret_call)
{
	int r;

	*ret_call = "bind";
	if (bind(fd, (const struct sockaddr *)un, sizeof(*un)) < 0)
		return -errno;
	*ret_call = "chown";
	r = give(un->sun_path, group);
	if (r == 0) {
		*ret_call = "listen";
		r = listen(fd, SOCKETS_BACKLOG) < 0 ? -errno : 0;
	}
	if (r < 0)
		unlink(un->sun_path);
	return r;
}

int unix_listen(const char *path, mode_t mode, gid_t group, const char **ret_call)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	FD_CLEANUP int fd = -1;
	mode_t mask;
	bool is_old;
	int r;

	assert(path[0] == '/' && ret_call);
	*ret_call = "socket";
	if (strlen(path) >= sizeof(un.sun_path))
		return -ENAMETOOLONG;
	strcpy(un.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* before rights are lent: the service user may not connect to a file of root's */
	is_old = is_stale(&un);
	privileges_lend(path, group);
	mask = umask(~mode & 0777);
	*ret_call = "unlink";
	r = is_old && unlink(path) < 0 ? -errno : make_file(fd, &un, group, ret_call);
	umask(mask);
	privileges_take_back();
	return r < 0 ? r : fd_steal(&fd);
}
