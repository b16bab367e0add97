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

/* Forks a worker that waits for its connection on pair_fd. Returns 0 and its slot, or -errno. */
int spawn_spare(struct listener *listener, int pair_fd, uint32_t *ret_slot);

/* Makes the entry of slot that of connection, or that of a spare. */
void spawn_fill_entry(struct listener *listener, uint32_t slot,
		      const struct connection *connection);
void spawn_fill_spare(struct listener *listener, uint32_t slot);

/* Counts a connection before its worker can answer: who has an echo is among the live ones. */
void spawn_set_live(struct listener *listener, uint32_t live);

/* The worker of slot has connection now: reports it, closes the connection here. */
void spawn_settle(struct listener *listener, uint32_t slot, struct connection *connection);

#endif
