/* SPDX-License-Identifier: MIT */
/* Giving up root, for a while or for good, and limits. Linux only: capabilities(7), prctl(2). */
#include "echod/privileges/privileges.h"

#include <assert.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
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

/*
 * Returns the user that root becomes, in static storage; or NULL and *ret_error (-ENOENT: no such
 * user).
 */
static const struct passwd *find_user(const struct configuration *configuration, int *ret_error)
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

/* The same, and logs what is wrong. */
static const struct passwd *require_user(const struct configuration *configuration, int *ret_error)
{
	const struct passwd *user = find_user(configuration, ret_error);
	const char *name = configuration->user;

	if (!user) {
		log_error("user: %s: %s", name,
			  *ret_error == -ENOENT ? "no such user" : strerror(-*ret_error));
	} else if (user->pw_uid == 0) {
		log_error("user: %s is root: nothing would be given up", name);
		*ret_error = -EPERM;
		return NULL;
	} else if (strcmp(user->pw_name, name) != 0) {
		log_warning("user %s does not exist, becoming %s", name, user->pw_name);
	}
	return user;
}

/* libcap-ng returns numbers of its own for failures; errno may have the reason. */
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

/* From root to the user with its groups, without any capability, not even in the bounding set. */
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
	int r;

	assert(configuration);
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

/* who: what needs so many. The unit's setting for the limit is "Limit" and name. */
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

/*
 * Before echod gives up root it makes files: Unix sockets, and the folder of the control socket.
 * Below a folder that the service user may write to, that user could replace any name by a link
 * between two calls. There echod acts with the rights that the service user has over files
 * (setfsuid(2)): wherever a link leads, echod does nothing that this user could not do. Elsewhere
 * that user cannot interfere.
 */
static struct privileges_owner service = { (uid_t)-1, (gid_t)-1 };

int privileges_identify(const struct configuration *configuration)
{
	const struct passwd *user;
	int r;

	assert(configuration);
	if (geteuid() != 0)
		return 0;
	user = find_user(configuration, &r);
	if (!user)
		return r;
	/* write permission through a group counts as well */
	if (initgroups(user->pw_name, user->pw_gid) < 0)
		return -errno;
	service = (struct privileges_owner){ user->pw_uid, user->pw_gid };
	return 0;
}

struct privileges_owner privileges_owner(void)
{
	return service;
}

/* Whether the user whose file system ids we have may replace entry. */
static bool may_replace(const char *folder, const char *entry)
{
	struct stat status;

	if (stat(folder, &status) < 0)
		return false;
	if (status.st_uid == service.uid)
		return true;
	if (faccessat(AT_FDCWD, folder, W_OK, AT_EACCESS) < 0)
		return false;
	/* in a folder like /tmp a user cannot replace files of others */
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
