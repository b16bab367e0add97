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
 * Whom privileges_drop() will become, as root before it is called. Silent; returns -errno if
 * there is no such user, and the results are untouched.
 */
int privileges_identity(const struct configuration *configuration, uid_t *ret_uid,
			gid_t *ret_gid);

/*
 * Raises the soft limits of descriptors and processes to what the configuration needs, as far as
 * they go, and logs a warning with the figure to set for each that is too small.
 */
void privileges_check_limits(const struct configuration *configuration);

#endif
