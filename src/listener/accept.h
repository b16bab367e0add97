/* SPDX-License-Identifier: MIT */
/* New connections: taken in turn from each socket, judged, and given a worker. */
#ifndef LISTENER_ACCEPT_H
#define LISTENER_ACCEPT_H

#include <stdbool.h>

#include "listener/state.h"

/*
 * True if fd is an MPTCP socket. A listening one knows fewer options than TCP, and the plain TCP
 * connections that it accepts as well inherit fewer still: their workers set them.
 */
bool accept_is_multipath(int fd);

/* True when no more connections may be taken: connections live here and in older generations. */
bool accept_at_limit(const struct listener *listener);

/* Reports that the limit is reached, and that it was left by an eighth. */
void accept_note_limit(struct listener *listener);

/* True when the listening sockets belong into the poll set. */
bool accept_is_open(const struct listener *listener);

/* Takes a bounded number of connections from one socket that is readable. */
void accept_turn(struct listener *listener, uint32_t socket);

/* Tries again to give the connection that waits for one a worker, unless still starved. */
void accept_pending(struct listener *listener);

/* Refuses the connection that waits for a worker, if there is one. */
void accept_give_up(struct listener *listener);

/* The one connection of MODE_SINGLE, which was accepted by somebody else. */
void accept_single(struct listener *listener);

#endif
