/* SPDX-License-Identifier: MIT */
/*
 * Before root gives itself up it makes files: Unix sockets, and the folder of the control socket.
 * Below a folder that the service user may write it could be led astray: that user can put a link
 * in the place of any name between two calls. So there root does not act itself, but with the
 * rights that the service user has over files (setfsuid(2)): wherever a link leads, no more is done
 * than that user could have done. Everywhere else that user cannot interfere.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "echod/privileges/privileges.h"

static struct privileges_owner service = { (uid_t)-1, (gid_t)-1 };

int privileges_identify(const struct configuration *configuration)
{
	const struct passwd *user;
	int r = 0;

	if (geteuid() != 0)
		return 0;
	user = privileges_find_user(configuration, &r);
	if (!user)
		return r;
	/* what may be written by way of a group counts as well */
	if (initgroups(user->pw_name, user->pw_gid) < 0)
		return -errno;
	service = (struct privileges_owner){ user->pw_uid, user->pw_gid };
	return 0;
}

struct privileges_owner privileges_owner(void)
{
	return service;
}

/* Whether the user whose file system ids are ours may put something else in the place of entry. */
static bool may_replace(const char *folder, const char *entry)
{
	struct stat status;

	if (stat(folder, &status) < 0)
		return false;
	if (status.st_uid == service.uid)
		return true;
	if (faccessat(AT_FDCWD, folder, W_OK, AT_EACCESS) < 0)
		return false;
	/* in a folder like /tmp what belongs to somebody else stays where it is */
	return !(status.st_mode & S_ISVTX) || lstat(entry, &status) < 0 ||
	       status.st_uid == service.uid;
}

static bool may_replace_part(const char *path)
{
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char entry[sizeof(folder)];
	const char *end;

	for (const char *slash = path; slash; slash = strchr(slash + 1, '/')) {
		end = strchrnul(slash + 1, '/');
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path + 1), path);
		snprintf(entry, sizeof(entry), "%.*s", (int)(end - path), path);
		if (may_replace(folder, entry))
			return true;
	}
	return false;
}

void privileges_lend(const char *path, gid_t group)
{
	assert(path[0] == '/');
	if (geteuid() != 0 || service.uid == (uid_t)-1)
		return;
	setfsgid(service.gid);
	setfsuid(service.uid);
	if (!may_replace_part(path))
		privileges_take_back();
	else if (group != (gid_t)-1)
		setfsgid(group);
}

void privileges_take_back(void)
{
	setfsuid(geteuid());
	setfsgid(getegid());
}
