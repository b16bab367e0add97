/* SPDX-License-Identifier: MIT */
/* The same for UDP: every probe is a datagram, and the link's window knows those answered too. */
#ifndef ECHOCTL_PING_FLOW_H
#define ECHOCTL_PING_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "echoctl/datagram/order.h"
#include "echoctl/datagram/probe.h"
#include "echoctl/datagram/socket.h"
#include "echoctl/output/report.h"
#include "echoctl/ping/link.h"

struct ping_flow {
	struct datagram_socket socket;
	struct order order;
	struct datagram_probe shape;	/* of all probes, but for sequence and time */
	struct datagram_event event;	/* the latest; the rest of one that was merged */
	bool merged;			/* it has a rest, which begins with a probe */
	uint64_t stamped;		/* answers with a time of the kernel */
	uint64_t unstamped;		/* and without one */
	int tos;			/* type of service that is sent */
	int ttl;			/* of the first answer; -1: none yet */
	uint64_t tos_changed;		/* answers with another one, ignoring congestion marks */
	uint64_t congested;		/* marked so (RFC 3168, CE) */
	uint64_t ttl_changed;
	int tos_seen;			/* one that was changed */
	char text[DATAGRAM_TEXT_MAX];	/* reason of the latest result */
};

/* Takes over the socket of an open link. Returns 0 or -errno. */
int ping_flow_open(struct ping_flow *flow, const struct ping_link *link,
		   const struct dial_address *peer);

/* Sends a probe; the window has room. Returns 0 or -errno of datagram_send(). */
int ping_flow_send(struct ping_flow *flow, struct ping_link *link, uint64_t sequence);

/* Removes the oldest probe of the window, answered or lost. */
void ping_flow_drop(struct ping_flow *flow, struct ping_link *link);

/* As ping_link_receive(), with all results of UDP; a probe that was answered stays. */
int ping_flow_receive(struct ping_flow *flow, struct ping_link *link,
		      struct ping_reply *ret_reply);

/* Order, marks and times of the answers: as JSON, and as lines for people. */
json_t *ping_flow_json(const struct ping_flow *flow);
void ping_flow_print(const struct ping_flow *flow, struct report *report);

#endif
