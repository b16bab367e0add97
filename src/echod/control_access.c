/* SPDX-License-Identifier: MIT */
/* Who is on the other end of a control connection: SO_PEERCRED and SO_PEERGROUPS of unix(7). */
#include <grp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "echod/control_client.h"

#define GROUPS_MAX 1024

static bool has_group(int fd, const struct ucred *peer, const char *name)
{
	gid_t groups[GROUPS_MAX];
	socklen_t size = sizeof(groups);
	const struct group *group = name ? getgrnam(name) : NULL;

	if (!group)
		return false;
	if (peer->gid == group->gr_gid)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(groups[0]); i++)
		if (groups[i] == group->gr_gid)
			return true;
	return false;
}

enum control_role control_role_of(const struct control *control, int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return CONTROL_READER;
	if (peer.uid == 0 || peer.uid == geteuid() || has_group(fd, &peer, control->group))
		return CONTROL_OPERATOR;
	return CONTROL_READER;
}
