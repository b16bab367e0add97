/* SPDX-License-Identifier: MIT */
/* Where the control socket is, and whose. */
#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/fd.h"
#include "echod/control/client.h"
#include "echod/control/control.h"
#include "echod/log/log.h"
#include "echod/sockets/unix.h"

/* The path that it is bound to; a reload may have brought another one for the next start. */
static char *path_of(int fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNSPEC };
	socklen_t length = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &length) < 0 ||
	    address.sun_family != AF_UNIX)
		return NULL;
	return strndup(address.sun_path, sizeof(address.sun_path));
}

int control_adopt(struct supervisor *supervisor, int fd, gid_t group, struct unix_file file,
		  struct control **ret_control)
{
	struct control *made = calloc(1, sizeof(*made));

	assert(fd >= 0);
	if (!made)
		return -ENOMEM;
	made->supervisor = supervisor;
	made->path = path_of(fd);
	if (!made->path) {
		free(made);
		return -ENOMEM;
	}
	made->file = file.inode ? file : unix_find(made->path);
	made->group = group;
	made->fd = fd;
	*ret_control = made;
	return 0;
}

/* The group that may act besides, CONTROL_NO_GROUP without a name. Logs what is wrong with it. */
static int find_group(const char *name, gid_t *ret_group)
{
	const struct group *group = name ? getgrnam(name) : NULL;

	if (name && !group) {
		log_error("control.group: %s: no such group", name);
		return -ENOENT;
	}
	*ret_group = group ? group->gr_gid : CONTROL_NO_GROUP;
	return 0;
}

/* Says why there is no socket. Returns error, or 0 if there need not be one. */
static int tell_failure(const struct configuration *configuration, int error, const char *call)
{
	const char *path = configuration->control.path;

	if (configuration->control.group && strcmp(call, "chown") == 0) {
		log_errno(LOG_ERR, error, "control.group: %s", configuration->control.group);
	} else if (configuration->control.path_is_set) {
		log_errno(LOG_ERR, error, "control.path: %s", path);
	} else {
		log_errno(LOG_NOTICE, error, "no control socket: %s", path);
		return 0;
	}
	return error;
}

int control_open(struct supervisor *supervisor, struct control **ret_control)
{
	const struct configuration *configuration = supervisor->configuration;
	const char *path = configuration->control.path;
	FD_CLEANUP int fd = -1;
	const char *call;
	gid_t group;
	int r = find_group(configuration->control.group, &group);

	*ret_control = NULL;
	if (r < 0)
		return r;
	/* root's own start: the folder in /run is made, as RuntimeDirectory= does under systemd */
	r = geteuid() == 0 ? unix_make_folder(path) : 0;
	if (r < 0)
		log_errno(LOG_WARNING, r, "control.path: the folder of %s", path);
	fd = unix_listen(path, configuration->control.mode, group, &call);
	if (fd < 0)
		return tell_failure(configuration, fd, call);
	r = control_adopt(supervisor, fd, group, unix_find(path), ret_control);
	if (r < 0)
		unix_remove(path, unix_find(path));
	else
		fd_steal(&fd);
	return r;
}

int control_restore(struct control *control)
{
	struct control *fresh = NULL;
	struct control old;
	int r;

	if (!control || unix_is_same(unix_find(control->path), control->file))
		return 0;
	r = control_open(control->supervisor, &fresh);
	if (r < 0 || !fresh)
		return r;
	/* the clients stay */
	control->io = sd_event_source_disable_unref(control->io);
	old = *control;
	control->fd = fresh->fd;
	control->path = fresh->path;
	control->file = fresh->file;
	control->group = fresh->group;
	fresh->fd = old.fd;
	fresh->path = old.path;
	fresh->file = old.file;
	control_free(fresh);
	log_info("control: %s is there again", control->path);
	return control_watch(control);
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
