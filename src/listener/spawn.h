/* SPDX-License-Identifier: MIT */
/* Forking workers: the entry first, then the process, so that no worker is ever unknown. */
#ifndef LISTENER_SPAWN_H
#define LISTENER_SPAWN_H

#include <stdint.h>

struct connection;
struct listener;

/*
 * Forks a worker for connection, fills its entry and slot, and closes the connection here.
 * Returns 0, or -errno (-EAGAIN, -ENOMEM: no process or memory) and then nothing has changed:
 * the caller still has the connection.
 */
int spawn_worker(struct listener *listener, struct connection *connection);

/* Sets the number of connections that have a worker, for the table too. */
void spawn_set_live(struct listener *listener, uint32_t live);

#endif
