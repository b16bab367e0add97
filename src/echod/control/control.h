/* SPDX-License-Identifier: MIT */
/*
 * The control socket: one JSON object a line each way (DESIGN.md). Requests are bounded in size and
 * time, clients in number; a client that misbehaves is closed, and no other one notices.
 */
#ifndef ECHOD_CONTROL_CONTROL_H
#define ECHOD_CONTROL_CONTROL_H

#include <stdbool.h>

#include "echod/state/state.h"

struct control;

/*
 * Binds the configured path; as root its folder is made and both are given to the service
 * user, so call this between privileges_identify() and privileges_drop(). *ret_control is NULL if
 * the configured path is empty, and if the default one cannot be bound: a notice and no failure.
 * Logs what failed. Returns 0 or -errno.
 */
int control_open(struct supervisor *supervisor, struct control **ret_control);

/*
 * The same for a socket that is bound already (owned when this returns 0). group may act; file was
 * made for the socket (inode 0: the file that is there now).
 */
#define CONTROL_NO_GROUP ((gid_t)-1)
int control_adopt(struct supervisor *supervisor, int fd, gid_t group, struct unix_file file,
		  struct control **ret_control);

/*
 * Opens the socket again, as configured now, if its file was removed or replaced. NULL is allowed.
 * Logs what failed. Returns 0 or -errno.
 */
int control_restore(struct control *control);

/* Serves it in the supervisor's loop. Returns 0 or -errno. */
int control_watch(struct control *control);

/* True if the two ask for different control sockets. */
bool control_has_changed(const struct configuration *old, const struct configuration *new);

/* What control_adopt() needs, for the handover; a descriptor of -1 if control is NULL. */
void control_save(const struct control *control, int *ret_fd, gid_t *ret_group,
		  struct unix_file *ret_file);

/* Closes everything; the path is unlinked. NULL is allowed. */
void control_free(struct control *control);

/*
 * Answers for clients that wait: their reload begins, lines of it, its outcome; the connections
 * that were told to end before first_ns (UINT64_MAX: all) have ended; the drain is over.
 */
void control_note_reload(struct control *control);
void control_note_problem(struct control *control, const char *text);
void control_note_reloaded(struct control *control, bool succeeded);
void control_note_killed(struct control *control, uint64_t first_ns);
void control_note_drained(struct control *control);

/* The daemon stops: clients that wait for a reload are told so. */
void control_note_stopping(struct control *control);

#endif
