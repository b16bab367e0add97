/* SPDX-License-Identifier: MIT */
/* Messages of enum message_type, one datagram each. */
#include "listener/channel.h"

#include <assert.h>
#include <string.h>

#include "base/fd.h"
#include "base/sys.h"

#define RECEIVE_BATCH 16	/* messages a turn of the loop */

static int send_message(int fd, const struct message *message)
{
	ssize_t n = sys_send(fd, message, sizeof(*message), MSG_NOSIGNAL | MSG_DONTWAIT);

	return n < 0 ? (int)n : 0;
}

int channel_send(struct listener *listener, enum message_type type, uint32_t value)
{
	const struct message message = { .type = type, .value = value };

	if (listener->channel_fd < 0)
		return -EPIPE;
	return send_message(listener->channel_fd, &message);
}

void channel_send_failed(int channel_fd, const char *what, int error)
{
	struct message message = { .type = MESSAGE_FAILED, .value = (uint32_t)-error };
	size_t length = strnlen(what, sizeof(message.text) - 1);

	assert(error < 0);
	memcpy(message.text, what, length);
	(void)send_message(channel_fd, &message);
}

enum channel_order channel_receive(struct listener *listener)
{
	enum channel_order order = CHANNEL_NOTHING;

	for (int i = 0; i < RECEIVE_BATCH; i++) {
		struct message message;
		ssize_t n = sys_recv(listener->channel_fd, &message, sizeof(message), MSG_DONTWAIT);

		if (n == -EAGAIN || n == -EINTR)
			break;
		if (n <= 0) {
			listener->channel_fd = fd_close(listener->channel_fd);
			return order == CHANNEL_END ? order : CHANNEL_STOP;
		}
		if ((size_t)n < sizeof(message))
			continue;
		if (message.type == MESSAGE_PING)
			(void)channel_send(listener, MESSAGE_PONG, message.value);
		else if (message.type == MESSAGE_STOP && message.value == STOP_END)
			order = CHANNEL_END;
		else if (message.type == MESSAGE_STOP && order == CHANNEL_NOTHING)
			order = CHANNEL_STOP;
	}
	return order;
}
