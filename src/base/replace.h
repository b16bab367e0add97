/* SPDX-License-Identifier: MIT */
/* Files that others read while they change: the old one or the new one, never a half. */
#ifndef ECHOD_BASE_REPLACE_H
#define ECHOD_BASE_REPLACE_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Puts a file with these bytes and this mode in the place of path. It is written as path.new in
 * the same folder, in the place of any file that stood there; it is gone again when that fails,
 * as on a full disk, and path is then as it was. Returns 0 or -errno.
 */
int replace_file(const char *path, const void *bytes, size_t size, mode_t mode);

#endif
