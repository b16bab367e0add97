/* SPDX-License-Identifier: MIT */
/* What listener and workers can no longer do. */
#ifndef LISTENER_SANDBOX_H
#define LISTENER_SANDBOX_H

#include "wire/settings.h"

/*
 * Before the first fork: no new privileges, no capabilities, no core dumps, no file larger than
 * nothing, a few descriptors beside the listening sockets, no file or directory by Landlock where
 * the kernel has it, then the seccomp filter of the block. A filter that cannot be installed fails
 * only with SETTINGS_FILTER_REQUIRED; *ret_what says what failed. Returns 0 or -errno.
 */
int sandbox_enter(const struct settings *settings, const char **ret_what);

#endif
