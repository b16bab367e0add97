/* SPDX-License-Identifier: MIT */
/* The channel to the supervisor: small messages both ways, never blocking. */
#ifndef LISTENER_CHANNEL_H
#define LISTENER_CHANNEL_H

#include "listener/state.h"
#include "wire/event.h"

/* What the supervisor wants, the lesser first. */
enum channel_order {
	CHANNEL_NOTHING,
	CHANNEL_STOP,		/* accept no more */
	CHANNEL_END,		/* the same, and refuse what has no worker yet */
};

/* Returns 0 or -errno (-EAGAIN: the supervisor does not read; -EPIPE: it is gone). */
int channel_send(struct listener *listener, enum message_type type, uint32_t value);

/* Says that the listener cannot start: what failed at (its first 55 bytes), error negative. */
void channel_send_failed(int channel_fd, const char *what, int error);

/*
 * Reads what the supervisor sent, a bounded number of messages. Answers MESSAGE_PING and ignores
 * unknown messages. Returns what the listener has to do: CHANNEL_STOP also if the supervisor is
 * gone, and then the channel is closed.
 */
enum channel_order channel_receive(struct listener *listener);

#endif
