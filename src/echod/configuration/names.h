/* SPDX-License-Identifier: MIT */
/* What the host knows of the names in a configuration. Asking may take its time. */
#ifndef ECHOD_CONFIGURATION_NAMES_H
#define ECHOD_CONFIGURATION_NAMES_H

#include "echod/configuration/keys.h"

/* Whether the user exists and is not root. Returns 0, or -EINVAL with the reason in why. */
int names_check_user(const char *user, char why[KEY_WHY_MAX]);

/* The same for a group, which only has to exist. */
int names_check_group(const char *group, char why[KEY_WHY_MAX]);

#endif
