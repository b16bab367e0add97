/* SPDX-License-Identifier: MIT */
/* One datagram there and back. */
#include "echoctl/datagram/trial.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "echoctl/probe/exchange.h"
#include "echoctl/probe/interrupt.h"

#define TRIES 3		/* RFC 8899, 5.1.2: MAX_PROBES */

/* Whether an event is about this probe. Quotes may be too short to tell, and so may probes be. */
static bool concerns(const struct datagram_socket *socket, const struct datagram_probe *probe,
		     const struct datagram_event *event)
{
	bool from_peer = socket->connected || datagram_is_same(&event->from, &socket->peer);
	uint32_t sequence;

	switch (datagram_identify(event->bytes, event->size_bytes, probe->run, &sequence)) {
	case DATAGRAM_OURS:
		/*
		 * An earlier one may still come; there is no later one, so that number is damaged.
		 */
		return sequence >= probe->sequence;
	case DATAGRAM_FOREIGN:
		return false;
	default:
		if (!event->is_error)
			return from_peer;
		/* One that says that packets are too big needs proof. */
		return event->error != EMSGSIZE &&
			datagram_may_quote(probe, event->bytes, event->size_bytes);
	}
}

static int judge_answer(const struct datagram_socket *socket, const struct datagram_probe *probe,
			struct datagram_trial *trial)
{
	const struct datagram_event *event = &trial->event;
	char from[ADDRESS_TEXT_MAX];
	bool kernel;

	trial->time_ns = datagram_time_ns(socket, probe->sequence, probe->sent_ns, event, &kernel);
	trial->judgement = datagram_judge(probe, event->bytes, event->size_bytes);
	if (!socket->connected && !datagram_is_same(&event->from, &socket->peer)) {
		snprintf(trial->why, sizeof(trial->why), "the answer came from %s",
			 dial_address_format(&event->from, from));
		return -EBADMSG;
	}
	if (trial->judgement.verdict == DATAGRAM_INTACT)
		return 0;
	snprintf(trial->why, sizeof(trial->why), "%s from offset %zu on",
		 datagram_why(probe, trial->judgement), trial->judgement.offset_bytes);
	return -EBADMSG;
}

/* Returns 1 if nothing has come that concerns the probe, else as datagram_try(). */
static int take_events(struct datagram_socket *socket, const struct datagram_probe *probe,
		       struct datagram_trial *trial)
{
	int r;

	while ((r = datagram_receive(socket, &trial->event)) > 0) {
		if (!concerns(socket, probe, &trial->event))
			continue;
		trial->came = true;
		if (!trial->event.is_error)
			return judge_answer(socket, probe, trial);
		datagram_describe_error(&trial->event, trial->why);
		return -trial->event.error;
	}
	return r < 0 ? r : 1;
}

static int send_and_wait(struct datagram_socket *socket, struct datagram_probe *probe,
			 uint64_t deadline_ns, struct datagram_trial *trial)
{
	static uint8_t bytes[DATAGRAM_MAX_BYTES];
	int r;

	probe->sent_ns = clock_now_ns();
	datagram_fill(probe, bytes);
	r = datagram_send(socket, probe->sequence, bytes, probe->size_bytes);
	if (r < 0)
		return r;
	do {
		r = exchange_wait(socket->fd, POLLIN, deadline_ns);
		if (r >= 0)
			r = take_events(socket, probe, trial);
	} while (r > 0);
	return r;
}

int datagram_try(struct datagram_socket *socket, struct datagram_probe *probe,
		 uint64_t deadline_ns, struct datagram_trial *ret_trial)
{
	*ret_trial = (struct datagram_trial){0};
	ret_trial->error = send_and_wait(socket, probe, deadline_ns, ret_trial);
	if (ret_trial->error < 0 && ret_trial->why[0] == '\0')
		snprintf(ret_trial->why, sizeof(ret_trial->why), "%s",
			 exchange_why(ret_trial->error));
	return ret_trial->error;
}

int datagram_try_thrice(struct datagram_socket *socket, struct datagram_probe *probe,
			uint64_t timeout_ns, struct datagram_trial *ret_trial)
{
	*ret_trial = (struct datagram_trial){ .error = -ETIMEDOUT };
	for (unsigned i = 0; i < TRIES && ret_trial->error == -ETIMEDOUT &&
	     interrupt_ended() == 0; i++) {
		probe->sequence++;
		datagram_try(socket, probe, clock_now_ns() + timeout_ns, ret_trial);
	}
	return ret_trial->error;
}
