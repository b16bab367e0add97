/* SPDX-License-Identifier: MIT */
/* Where the control socket is, and whose. */
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/control/client.h"
#include "echod/control/control.h"
#include "echod/log/log.h"
#include "echod/privileges/privileges.h"
#include "echod/sockets/sockets.h"

/* Where the socket is bound: a reload may have brought another path for the next start. */
static char *path_of(int fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNSPEC };
	socklen_t length = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &length) < 0 ||
	    address.sun_family != AF_UNIX)
		return NULL;
	return strndup(address.sun_path, sizeof(address.sun_path));
}

int control_adopt(struct supervisor *supervisor, int fd, gid_t group, struct control **ret_control)
{
	struct control *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->supervisor = supervisor;
	made->path = path_of(fd);
	if (!made->path) {
		free(made);
		return -ENOMEM;
	}
	made->group = group;
	made->fd = fd;
	*ret_control = made;
	return 0;
}

/* Root's own start: the folder in /run is made, as RuntimeDirectory= does under systemd. */
static void make_folder(const char *path, uid_t uid, gid_t gid)
{
	char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (slash && slash != folder) {
		*slash = '\0';
		if (mkdir(folder, 0755) == 0 && chown(folder, uid, gid) < 0)
			log_errno(LOG_WARNING, errno, "control.path: %s", folder);
	}
	free(folder);
}

/* *ret_group is who may act then, CONTROL_NO_GROUP without a name. */
static int give_to_group(const char *path, const char *name, gid_t *ret_group)
{
	const struct group *group = name ? getgrnam(name) : NULL;

	*ret_group = CONTROL_NO_GROUP;
	if (!name)
		return 0;
	if (!group) {
		log_error("control.group: %s: no such group", name);
		return -ENOENT;
	}
	if (chown(path, (uid_t)-1, group->gr_gid) < 0) {
		log_errno(LOG_ERR, errno, "control.group: %s", name);
		return -errno;
	}
	*ret_group = group->gr_gid;
	return 0;
}

int control_open(struct supervisor *supervisor, struct control **ret_control)
{
	const struct configuration *configuration = supervisor->configuration;
	const char *path = configuration->control.path;
	FD_CLEANUP int fd = -1;
	uid_t uid = (uid_t)-1;
	gid_t gid = (gid_t)-1, group;
	int result;

	*ret_control = NULL;
	if (geteuid() == 0) {
		privileges_identity(configuration, &uid, &gid);
		make_folder(path, uid, gid);
	}
	fd = sockets_listen_unix(path, configuration->control.mode);
	if (fd < 0 && !configuration->control.path_is_set) {
		log_errno(LOG_NOTICE, fd, "no control socket: %s", path);
		return 0;
	}
	if (fd < 0) {
		log_errno(LOG_ERR, fd, "control.path: %s", path);
		return fd;
	}
	if (geteuid() == 0 && chown(path, uid, gid) < 0)
		log_errno(LOG_WARNING, errno, "control.path: %s", path);
	result = give_to_group(path, configuration->control.group, &group);
	if (result == 0)
		result = control_adopt(supervisor, fd, group, ret_control);
	if (result < 0)
		unlink(path);
	else
		fd_steal(&fd);
	return result;
}

static bool differ(const char *a, const char *b)
{
	return !a != !b || (a && strcmp(a, b) != 0);
}

bool control_has_changed(const struct configuration *old, const struct configuration *new)
{
	return differ(old->control.path, new->control.path) ||
	       differ(old->control.group, new->control.group) ||
	       old->control.mode != new->control.mode;
}
