/* SPDX-License-Identifier: MIT */
/* From root to the service user, for good. */
#ifndef ECHOD_PRIVILEGES_PRIVILEGES_H
#define ECHOD_PRIVILEGES_PRIVILEGES_H

#include "echod/configuration/configuration.h"

/*
 * When started as root: becomes configuration->user (groups, all three ids), drops every
 * capability, and proves that root cannot be regained. The default user that does not exist
 * is replaced by "nobody" with a warning; one named in the file that does not exist is an
 * error. Sets no_new_privs in every case. Logs what failed. Returns 0 or -errno (-ENOENT: no
 * such user). When not started as root it changes no id.
 */
int privileges_drop(const struct configuration *configuration);

/*
 * Whom privileges_drop() will become, as root before it is called. Silent; -errno when there is
 * no such user, and the results are untouched.
 */
int privileges_identity(const struct configuration *configuration, uid_t *ret_uid,
			gid_t *ret_gid);

/*
 * Compares connections with RLIMIT_NOFILE, RLIMIT_NPROC, kernel.pid_max and the cgroup's
 * pids.max; raises the soft limits as far as they go and logs a warning with the figure to
 * change for each that does not suffice.
 */
void privileges_check_limits(const struct configuration *configuration);

#endif
