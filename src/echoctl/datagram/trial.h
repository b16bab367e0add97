/* SPDX-License-Identifier: MIT */
/* One datagram there and back, and its result. */
#ifndef ECHOCTL_DATAGRAM_TRIAL_H
#define ECHOCTL_DATAGRAM_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "echoctl/datagram/probe.h"
#include "echoctl/datagram/socket.h"

struct datagram_trial {
	int error;			/* what datagram_try() has returned */
	struct datagram_judgement judgement;	/* if something came back from the peer */
	struct datagram_event event;	/* the event that ended it, without its bytes; if came */
	bool came;
	uint64_t time_ns;		/* there and back */
	char why[DATAGRAM_TEXT_MAX];	/* in words; empty if all is well */
};

/*
 * Sends the probe, whose sent_ns it sets, and waits for its echo until the deadline. Returns 0 if
 * that came unchanged; -EBADMSG if something else came; -ETIMEDOUT if nothing did; -EMSGSIZE if
 * it does not fit this machine's interface or an MTU on the path; what interrupt_ended() says;
 * -errno of the ICMP error (trial->came then) or of this side. *ret_trial is set in every case.
 */
int datagram_try(struct datagram_socket *socket, struct datagram_probe *probe,
		 uint64_t deadline_ns, struct datagram_trial *ret_trial);

/*
 * The same, up to three times if nothing comes: each waits for timeout_ns, and has the next
 * sequence. -ETIMEDOUT, with nothing sent, if the command has been interrupted before.
 */
int datagram_try_thrice(struct datagram_socket *socket, struct datagram_probe *probe,
			uint64_t timeout_ns, struct datagram_trial *ret_trial);

#endif
