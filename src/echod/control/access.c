/* SPDX-License-Identifier: MIT */
/* Who is on the other end of a control connection: SO_PEERCRED and SO_PEERGROUPS of unix(7). */
#include <sys/socket.h>
#include <unistd.h>

#include "echod/control/client.h"

#define GROUPS_MAX 1024

/* An id that our user namespace does not have reads as this (user_namespaces(7)): no operator. */
#define UNMAPPED_ID 65534

static bool has_group(int fd, const struct ucred *peer, gid_t group)
{
	gid_t groups[GROUPS_MAX];
	socklen_t size = sizeof(groups);

	if (group == UNMAPPED_ID || group == CONTROL_NO_GROUP)
		return false;
	if (peer->gid == group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(groups[0]); i++)
		if (groups[i] == group)
			return true;
	return false;
}

struct control_peer control_peer_of(const struct control *control, int fd)
{
	struct ucred peer = { .pid = 0, .uid = UNMAPPED_ID, .gid = UNMAPPED_ID };
	socklen_t size = sizeof(peer);
	bool may_act;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return (struct control_peer){ CONTROL_READER, UNMAPPED_ID, 0 };
	may_act = peer.uid == 0 || (peer.uid == geteuid() && peer.uid != UNMAPPED_ID) ||
		  has_group(fd, &peer, control->group);
	return (struct control_peer){ may_act ? CONTROL_OPERATOR : CONTROL_READER, peer.uid,
				      peer.pid };
}
