/* SPDX-License-Identifier: MIT */
/* Listening Unix sockets and their files, which others may remove or replace. */
#ifndef ECHOD_SOCKETS_UNIX_H
#define ECHOD_SOCKETS_UNIX_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Which file a path leads to; inode 0: none. While a socket is open no other file gets the numbers
 * of its own, removed or not.
 */
struct unix_file {
	dev_t device;
	ino_t inode;
};

/*
 * A listening socket at this absolute path, whose file has this mode and belongs to group (-1: no
 * matter whose) and to whom privileges_owner() says. A stale file that nobody listens on is
 * replaced. Returns a descriptor of the caller's, or -errno; then no file is left behind and
 * *ret_call is the call that failed ("chown": the file could not be given away).
 */
int unix_listen(const char *path, mode_t mode, gid_t group, const char **ret_call);

/*
 * Makes the folder of path for privileges_owner(), unless it is there; bind(2) tells if it cannot
 * be made. Returns 0, or -errno if it could not be given away.
 */
int unix_make_folder(const char *path);

/* The file that path leads to now, if that is a socket. */
struct unix_file unix_find(const char *path);

static inline bool unix_is_same(struct unix_file a, struct unix_file b)
{
	return a.inode != 0 && a.inode == b.inode && a.device == b.device;
}

/* Removes path if it leads to this file. */
void unix_remove(const char *path, struct unix_file file);

#endif
