/* SPDX-License-Identifier: MIT */
/* The channel to the supervisor: small messages both ways, never blocking. */
#ifndef LISTENER_CHANNEL_H
#define LISTENER_CHANNEL_H

#include "listener/state.h"
#include "wire/event.h"

/* Returns 0 or -errno (-EAGAIN: the supervisor does not read; -EPIPE: it is gone). */
int channel_send(struct listener *listener, enum message_type type, uint32_t value);

/* Says that the listener cannot start: what failed at (its first 55 bytes), error negative. */
void channel_send_failed(int channel_fd, const char *what, int error);

/*
 * Reads what the supervisor sent and does it: MESSAGE_PING is answered, MESSAGE_STOP, an end of
 * file or an error make the listener stop accepting (is_stopping, its sockets closed,
 * MESSAGE_STOPPED sent). Unknown messages are ignored.
 */
void channel_receive(struct listener *listener);

#endif
