/* SPDX-License-Identifier: MIT */
/* Users and groups, by getpwnam(3) and getgrnam(3). */
#include "echod/configuration/names.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

static int say(const char *name, const char *what, char why[KEY_WHY_MAX])
{
	char quoted[KEY_QUOTE_MAX];

	snprintf(why, KEY_WHY_MAX, "%s%s", key_quote(name, quoted), what);
	return -EINVAL;
}

/* Why there is no entry of passwd(5) or group(5). */
static int say_missing(const char *name, int error, const char *what, char why[KEY_WHY_MAX])
{
	char text[256];

	if (error == 0 || error == ENOENT || error == ESRCH)
		return say(name, what, why);
	snprintf(text, sizeof(text), ": %s", strerror(error));
	return say(name, text, why);
}

int names_check_user(const char *user, char why[KEY_WHY_MAX])
{
	const struct passwd *entry;

	errno = 0;
	entry = getpwnam(user);
	if (!entry)
		return say_missing(user, errno, ": no such user", why);
	return entry->pw_uid != 0 ? 0 : say(user, " is root: nothing would be given up", why);
}

int names_check_group(const char *group, char why[KEY_WHY_MAX])
{
	errno = 0;
	return getgrnam(group) ? 0 : say_missing(group, errno, ": no such group", why);
}
