/* SPDX-License-Identifier: MIT */
/* What listener and workers can no longer do. */
#ifndef LISTENER_SANDBOX_H
#define LISTENER_SANDBOX_H

#include "wire/settings.h"

/*
 * Before the first fork: first in line when memory is short, no new privileges, no capabilities, no
 * core dumps, no file larger than nothing, a few descriptors beside the listening sockets, no file
 * or directory by Landlock where the kernel has it, then the seccomp filter of the block. Returns
 * 0, or -errno and *ret_what, a static phrase. A filter that cannot be installed fails only with
 * SETTINGS_FILTER_REQUIRED; else its errno (positive) is stored in *ret_missing.
 */
int sandbox_enter(const struct settings *settings, int *ret_missing, const char **ret_what);

#endif
