/* SPDX-License-Identifier: MIT */
/* Listening Unix sockets and their files, which others may remove or replace. */
#ifndef ECHOD_SOCKETS_UNIX_H
#define ECHOD_SOCKETS_UNIX_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * The file that a path leads to; inode 0: none. While a socket is open no other file gets its
 * numbers, even if the file was removed.
 */
struct unix_file {
	dev_t device;
	ino_t inode;
};

/*
 * Makes a listening socket at this absolute path. Its file has this mode and belongs to the user of
 * privileges_owner() and to group (-1: any). A stale file on which no process listens is replaced.
 * Returns a descriptor of the caller's, or -errno; then no file is left behind and *ret_call is the
 * call that failed ("chown": the file could not be given away).
 */
int unix_listen(const char *path, mode_t mode, gid_t group, const char **ret_call);

/*
 * Makes the folder of path for privileges_owner(), unless it is there; if that fails, bind(2)
 * reports it. Returns 0, or -errno if it could not be given away.
 */
int unix_make_folder(const char *path);

/*
 * Whether a socket can be made at this absolute path as far as one can see: its folder is there,
 * and nothing but a socket at path. Returns 0 or -errno.
 */
int unix_try(const char *path);

/* The file that path leads to now, if that is a socket. */
struct unix_file unix_find(const char *path);

static inline bool unix_is_same(struct unix_file a, struct unix_file b)
{
	return a.inode != 0 && a.inode == b.inode && a.device == b.device;
}

/* Removes path if it leads to this file. */
void unix_remove(const char *path, struct unix_file file);

#endif
