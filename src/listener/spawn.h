/* SPDX-License-Identifier: MIT */
/* A worker for a connection. */
#ifndef LISTENER_SPAWN_H
#define LISTENER_SPAWN_H

#include "listener/state.h"

/*
 * Forks a worker for connection, fills its entry and slot, and closes the connection here.
 * Returns 0, or -errno (-EAGAIN, -ENOMEM: no process or memory) and then nothing has changed:
 * the caller still has the connection.
 */
int spawn_worker(struct listener *listener, struct connection *connection);

#endif
