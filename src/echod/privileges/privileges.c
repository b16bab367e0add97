/* SPDX-License-Identifier: MIT */
/* Giving up root, and the limits of the process. Linux only: capabilities(7), prctl(2). */
#include "echod/privileges/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "echod/log/log.h"

#define FALLBACK_USER "nobody"

/* The kernel's own interface: libcap would be one more library for two calls. */
static int holds_capability(bool *ret_holds)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct held[_LINUX_CAPABILITY_U32S_3] = {};

	if (syscall(SYS_capget, &header, held) < 0)
		return -errno;
	*ret_holds = false;
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		*ret_holds |= (held[i].effective | held[i].permitted | held[i].inheritable) != 0;
	return 0;
}

/* Calls capset(2) only when it matters: the unit's system call filter need not allow it. */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
	bool holds = true;
	int r;

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return -errno;
	r = holds_capability(&holds);
	if (r < 0 || !holds)
		return r;
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

/* The bounding set needs CAP_SETPCAP to shrink, so while we are still root. */
static int drop_bounding_set(void)
{
	for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
			return -errno;
	return 0;
}

/* True when every way back is closed: no id of root, no capability, no call that restores one. */
static bool is_root_gone(uid_t uid, gid_t gid)
{
	bool holds = true;
	uid_t real_uid, effective_uid, saved_uid;
	gid_t real_gid, effective_gid, saved_gid;

	if (getresuid(&real_uid, &effective_uid, &saved_uid) < 0 || real_uid != uid ||
	    effective_uid != uid || saved_uid != uid)
		return false;
	if (getresgid(&real_gid, &effective_gid, &saved_gid) < 0 || real_gid != gid ||
	    effective_gid != gid || saved_gid != gid)
		return false;
	if (holds_capability(&holds) < 0 || holds)
		return false;
	return setuid(0) < 0 && seteuid(0) < 0 && setresuid(0, 0, 0) < 0 && setgroups(0, NULL) < 0;
}

/* The password entry (static storage), or NULL and *ret_error. The default user may be missing. */
static const struct passwd *find_user(const struct configuration *configuration, int *ret_error)
{
	const struct passwd *user;

	errno = 0;
	user = getpwnam(configuration->user);
	if (user == NULL && errno == 0 && !configuration->user_is_set)
		user = getpwnam(FALLBACK_USER);
	if (user == NULL)
		*ret_error = errno == 0 ? -ENOENT : -errno;
	return user;
}

/* The same, with words about what is wrong. */
static const struct passwd *require_user(const struct configuration *configuration, int *ret_error)
{
	const struct passwd *user = find_user(configuration, ret_error);

	if (user == NULL && *ret_error == -ENOENT) {
		log_error("user: %s: no such user", configuration->user);
	} else if (user == NULL) {
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

int privileges_identity(const struct configuration *configuration, uid_t *ret_uid, gid_t *ret_gid)
{
	int r = 0;
	const struct passwd *user = find_user(configuration, &r);

	if (user == NULL)
		return r;
	*ret_uid = user->pw_uid;
	*ret_gid = user->pw_gid;
	return 0;
}

static int become(const struct passwd *user)
{
	int r;

	r = drop_bounding_set();
	if (r < 0)
		return r;
	if (initgroups(user->pw_name, user->pw_gid) < 0)
		return -errno;
	if (setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0)
		return -errno;
	return setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0 ? -errno : 0;
}

int privileges_drop(const struct configuration *configuration)
{
	const struct passwd *user = NULL;
	int r = 0;

	if (geteuid() == 0) {
		user = require_user(configuration, &r);
		if (user == NULL)
			return r;
		r = become(user);
		if (r < 0) {
			log_errno(LOG_ERR, r, "user: becoming %s", user->pw_name);
			return r;
		}
	}
	r = drop_capabilities();
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	if (r < 0) {
		log_errno(LOG_ERR, r, "dropping capabilities");
		return r;
	}
	if (user != NULL && !is_root_gone(user->pw_uid, user->pw_gid)) {
		log_error("user: root could be regained, refusing to go on");
		return -EPERM;
	}
	return 0;
}
