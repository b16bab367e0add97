/* SPDX-License-Identifier: MIT */
/* Giving up root, and the limits of the process. Linux only: capabilities(7), prctl(2). */
#include "echod/privileges/privileges.h"

#include <assert.h>
#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "echod/log/log.h"
#include "wire/settings.h"

#define FALLBACK_USER "nobody"

/* The supervisor's: log, notify, event loop, control clients, what each generation takes. */
#define SUPERVISOR_DESCRIPTORS 128
/* The supervisor and the listeners of a few generations. */
#define OTHER_PROCESSES 8

static bool is_missing(int error)
{
	return error == 0 || error == ENOENT || error == ESRCH;	/* getpwnam(3) */
}

const struct passwd *privileges_find_user(const struct configuration *configuration,
					  int *ret_error)
{
	const struct passwd *user;

	errno = 0;
	user = getpwnam(configuration->user);
	/* the default user may be missing */
	if (!user && is_missing(errno) && !configuration->user_is_set) {
		errno = 0;
		user = getpwnam(FALLBACK_USER);
	}
	if (!user)
		*ret_error = is_missing(errno) ? -ENOENT : -errno;
	return user;
}

/* The same, with words about what is wrong. */
static const struct passwd *require_user(const struct configuration *configuration, int *ret_error)
{
	const struct passwd *user = privileges_find_user(configuration, ret_error);

	if (!user && *ret_error == -ENOENT) {
		log_error("user: %s: no such user", configuration->user);
	} else if (!user) {
		log_errno(LOG_ERR, *ret_error, "user: %s", configuration->user);
	} else if (user->pw_uid == 0) {
		log_error("user: %s is root: nothing would be given up", user->pw_name);
		*ret_error = -EPERM;
		return NULL;
	} else if (strcmp(user->pw_name, configuration->user) != 0) {
		log_warning("user %s does not exist, becoming %s", configuration->user,
			    user->pw_name);
	}
	return user;
}

/* What libcap-ng says about a failure is a number of its own; errno may tell why. */
static int capability_error(void)
{
	return errno != 0 ? -errno : -EPERM;
}

static bool holds_capability(void)
{
	return capng_get_caps_process() < 0 ||
	       capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE ||
	       capng_have_permitted_capabilities() != CAPNG_NONE;
}

/* Calls capset(2) only if it matters: the unit's system call filter does not allow it. */
static int drop_capabilities(void)
{
	if (!holds_capability())
		return 0;
	capng_clear(CAPNG_SELECT_ALL);
	errno = 0;
	return capng_apply(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT) < 0 ? capability_error() : 0;
}

/* Returns true if every way back is closed: no capability, no call that restores root. */
static bool is_root_gone(void)
{
	return !holds_capability() && setuid(0) < 0 && setgroups(0, NULL) < 0;
}

/* From root to the user with his groups, without any capability, not even a bounding set. */
static int become(uid_t uid, gid_t gid)
{
	assert(uid != 0);
	capng_clear(CAPNG_SELECT_ALL);
	errno = 0;
	if (capng_change_id((int)uid, (int)gid, CAPNG_INIT_SUPP_GRP | CAPNG_CLEAR_BOUNDING |
			    CAPNG_CLEAR_AMBIENT) < 0)
		return capability_error();
	return is_root_gone() ? 0 : -EPERM;
}

int privileges_drop(const struct configuration *configuration)
{
	const struct passwd *user;
	int r = 0;

	if (geteuid() == 0) {
		user = require_user(configuration, &r);
		if (!user)
			return r;
		r = become(user->pw_uid, user->pw_gid);
	} else {
		r = drop_capabilities();
	}
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	if (r < 0)
		log_errno(LOG_ERR, r, "user: giving up privileges");
	return r;
}

/* who: what needs so many; the unit's setting that raises the limit is Limit and its name. */
static void raise_limit(int resource, const char *name, const char *who, uint64_t need,
			const char *what)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) < 0 || limit.rlim_cur >= need)
		return;
	if (limit.rlim_max < need)
		log_warning("%s needs %" PRIu64 " %s, RLIMIT_%s is %" PRIu64 ": Limit%s=%" PRIu64,
			    who, need, what, name, (uint64_t)limit.rlim_max, name, need);
	limit.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max;
	setrlimit(resource, &limit);
}

/*
 * A connection costs one process and, in that process, one descriptor: the listener closes its
 * own copy after the fork. So processes grow with connections and descriptors do not. The
 * supervisor has two sets of sockets during a reload, and copies for the new listener.
 */
void privileges_check_limits(const struct configuration *configuration)
{
	uint32_t connections = configuration->limits.connections;
	char key[32];

	snprintf(key, sizeof(key), "connections = %" PRIu32, connections);
	raise_limit(RLIMIT_NOFILE, "NOFILE", "echod",
		    SUPERVISOR_DESCRIPTORS + 3 * SETTINGS_MAX_SOCKETS, "descriptors");
	raise_limit(RLIMIT_NPROC, "NPROC", key, (uint64_t)connections + OTHER_PROCESSES,
		    "processes of the user");
}
