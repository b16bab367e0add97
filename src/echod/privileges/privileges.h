/* SPDX-License-Identifier: MIT */
/* From root to the service user, for good; and the limits that connections need. */
#ifndef ECHOD_PRIVILEGES_PRIVILEGES_H
#define ECHOD_PRIVILEGES_PRIVILEGES_H

#include <sys/types.h>

#include "echod/configuration/configuration.h"

/*
 * If started as root: becomes configuration->user (groups, all three ids), drops every
 * capability, and proves that root cannot be regained. If the default user does not exist,
 * "nobody" takes its place with a warning; one named in the file that does not exist is an
 * error. Otherwise it changes no id. Sets no_new_privs in every case. Logs what failed. Returns
 * 0 or -errno (-ENOENT: no such user).
 */
int privileges_drop(const struct configuration *configuration);

/*
 * As root, before files are made: finds the service user and takes its groups. Without effect if
 * not root. Returns 0 or -errno.
 */
int privileges_identify(const struct configuration *configuration);

/* The owner of files that root makes; -1, -1 (no change) if not root. */
struct privileges_owner {
	uid_t uid;
	gid_t gid;
};
struct privileges_owner privileges_owner(void);

/*
 * As root: if the service user may replace path or a folder on the way to it, takes that user's
 * rights over files until privileges_take_back(); new files then belong to the user and to group
 * (-1: its own). Otherwise, and if not root, does nothing.
 */
void privileges_lend(const char *path, gid_t group);
void privileges_take_back(void);

/*
 * Raises the soft limits of descriptors and processes to what the configuration needs, as far as
 * the hard limits allow, and logs a warning with the needed number for each that is too small.
 */
void privileges_check_limits(const struct configuration *configuration);

#endif
