/* SPDX-License-Identifier: MIT */
/* Probes as datagrams. */
#include "echoctl/ping/flow.h"

#include <assert.h>
#include <inttypes.h>

#include "base/clock.h"

#define STAMPS 4096		/* older probes have none of the kernel's times */
#define ECN_MASK 3		/* RFC 3168: two bits of the type of service; both: congestion */

int ping_flow_open(struct ping_flow *flow, const struct ping_link *link,
		   const struct dial_address *peer)
{
	bool ip = peer->address.ss_family == AF_INET;
	socklen_t length = sizeof(flow->tos);

	(void)getsockopt(link->fd, ip ? IPPROTO_IP : IPPROTO_IPV6, ip ? IP_TOS : IPV6_TCLASS,
			 &flow->tos, &length);
	flow->ttl = -1;
	flow->shape = (struct datagram_probe){
		.run = datagram_run(), .size_bytes = link->size_bytes,
	};
	return datagram_open(link->fd, peer, 0, STAMPS, &flow->socket);
}

int ping_flow_send(struct ping_flow *flow, struct ping_link *link, uint64_t sequence)
{
	struct ping_probe *probe = ping_link_probe(link, link->count);
	int r;

	assert(link->count < link->capacity);
	*probe = (struct ping_probe){ .sequence = sequence, .sent_ns = clock_now_ns() };
	flow->shape.sequence = (uint32_t)sequence;
	flow->shape.sent_ns = probe->sent_ns;
	datagram_fill(&flow->shape, link->out);
	r = datagram_send(&flow->socket, (uint32_t)sequence, link->out, link->size_bytes);
	link->count += r == 0;
	return r;
}

void ping_flow_drop(struct ping_flow *flow, struct ping_link *link)
{
	order_settled(&flow->order, !ping_link_probe(link, 0)->answered);
	ping_link_drop(link);
}

/* The probe of the window with this sequence; NULL if it has none. */
static struct ping_probe *find(const struct ping_link *link, uint32_t sequence)
{
	uint64_t oldest = ping_link_probe(link, 0)->sequence;
	size_t index = sequence - (uint32_t)oldest;

	/* Probes that could not be sent are missing, so it is there or before. */
	if (index >= link->count)
		index = link->count - 1;
	while (index > 0 && ping_link_probe(link, index)->sequence > oldest +
	       (sequence - (uint32_t)oldest))
		index--;
	return (uint32_t)ping_link_probe(link, index)->sequence == sequence ?
		ping_link_probe(link, index) : NULL;
}

/* A guess for an event that does not say which probe it is about; NULL: none waits. */
static struct ping_probe *youngest_waiting(const struct ping_link *link)
{
	for (size_t i = link->count; i > 0; i--) {
		if (!ping_link_probe(link, i - 1)->answered)
			return ping_link_probe(link, i - 1);
	}
	return NULL;
}

/* The probe that the event is about; NULL: none, or one that is long gone. */
static struct ping_probe *attribute(const struct ping_flow *flow, const struct ping_link *link)
{
	const struct datagram_event *event = &flow->event;
	struct ping_probe *probe = NULL;
	uint32_t sequence;

	if (link->count == 0)
		return NULL;
	switch (datagram_identify(event->bytes, event->size_bytes, flow->shape.run, &sequence)) {
	case DATAGRAM_OURS:
		probe = find(link, sequence);
		/* No probe is younger: the number is damaged. */
		if (!probe && (int32_t)(sequence - flow->shape.sequence) > 0)
			probe = youngest_waiting(link);
		return probe;
	case DATAGRAM_FOREIGN:
		return NULL;
	default:
		if (event->is_error &&
		    !datagram_may_quote(&flow->shape, event->bytes, event->size_bytes))
			return NULL;
		probe = youngest_waiting(link);
		if (!probe && !event->is_error)
			probe = ping_link_probe(link, link->count - 1);
		return probe;
	}
}

static void note_header(struct ping_flow *flow)
{
	const struct datagram_event *event = &flow->event;
	bool congested = event->tos >= 0 && (event->tos & ECN_MASK) == ECN_MASK &&
		(flow->tos & ECN_MASK) != ECN_MASK;

	if (flow->ttl < 0)
		flow->ttl = event->ttl;
	flow->ttl_changed += event->ttl != flow->ttl;
	flow->congested += congested;
	if (event->tos < 0 || ((event->tos ^ flow->tos) & ~(congested ? ECN_MASK : 0)) == 0)
		return;
	flow->tos_changed++;
	flow->tos_seen = event->tos;
}

/* Judges an answer by its bytes alone. */
static enum ping_result judge(struct ping_flow *flow, const struct datagram_probe *probe,
			      struct ping_reply *reply)
{
	static const enum ping_result results[] = {
		[DATAGRAM_INTACT] = PING_OK,
		[DATAGRAM_CORRUPT] = PING_CORRUPT,
		[DATAGRAM_CUT] = PING_CUT,
		[DATAGRAM_MERGED] = PING_MERGED,
	};
	struct datagram_judgement judgement = datagram_judge(probe, flow->event.bytes,
							     flow->event.size_bytes);
	bool is_rest = flow->merged;

	flow->merged = judgement.verdict == DATAGRAM_MERGED;
	reply->offset_bytes = judgement.offset_bytes;
	reply->why = datagram_why(probe, judgement);
	if (!is_rest || judgement.verdict != DATAGRAM_INTACT)
		return results[judgement.verdict];
	reply->why = "behind another probe";
	return PING_MERGED;
}

static void tally_time(struct ping_flow *flow, const struct datagram_probe *probe,
		       struct ping_reply *reply)
{
	bool kernel;

	reply->rtt_ns = datagram_time_ns(&flow->socket, probe->sequence, probe->sent_ns,
					 &flow->event, &kernel);
	if (reply->result != PING_OK)
		return;
	flow->stamped += kernel;
	flow->unstamped += !kernel;
	order_timed(&flow->order, reply->rtt_ns);
}

/* Takes an event about a probe of the window. */
static void conclude(struct ping_flow *flow, struct ping_probe *probe, struct ping_reply *reply)
{
	struct datagram_probe sent = flow->shape;

	sent.sequence = (uint32_t)probe->sequence;
	sent.sent_ns = probe->sent_ns;
	reply->event = &flow->event;
	if (flow->event.is_error) {
		reply->result = PING_UNREACHABLE;
		reply->why = datagram_describe_error(&flow->event, flow->text);
	} else {
		note_header(flow);
		reply->result = judge(flow, &sent, reply);
		if (probe->answered)
			reply->result = PING_DUPLICATE;
		else
			reply->reordered = order_arrived(&flow->order, probe->sequence);
		tally_time(flow, &sent, reply);
	}
	probe->answered = true;
	reply->probe = *probe;
}

/* Takes the next event, or the rest of the latest one behind its first probe. */
static int next_event(struct ping_flow *flow)
{
	if (!flow->merged)
		return datagram_receive(&flow->socket, &flow->event);
	flow->event.bytes += flow->shape.size_bytes;
	flow->event.size_bytes -= flow->shape.size_bytes;
	return 1;
}

int ping_flow_receive(struct ping_flow *flow, struct ping_link *link, struct ping_reply *ret_reply)
{
	struct ping_probe *probe;
	int r;

	do {
		r = next_event(flow);
		if (r <= 0)
			return r;
		probe = attribute(flow, link);
		/* An ICMP error after the echo says nothing about that. */
		if (probe && flow->event.is_error && probe->answered)
			probe = NULL;
		flow->merged &= probe != NULL;
	} while (!probe);
	*ret_reply = (struct ping_reply){0};
	conclude(flow, probe, ret_reply);
	return 1;
}

json_t *ping_flow_json(const struct ping_flow *flow)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I}",
			 "reordered", (json_int_t)flow->order.reordered,
			 "reordered_extent_max", (json_int_t)flow->order.extent_max,
			 "lost_in_a_row_max", (json_int_t)flow->order.lost_in_a_row_max,
			 "tos_changed", (json_int_t)flow->tos_changed,
			 "congested", (json_int_t)flow->congested,
			 "ttl_changed", (json_int_t)flow->ttl_changed,
			 "stamps", flow->stamped > 0 ? "kernel" : "user",
			 "stamps_missing", (json_int_t)flow->unstamped);
}

void ping_flow_print(const struct ping_flow *flow, struct report *report)
{
	if (flow->order.reordered > 0)
		report_text(report, "%" PRIu64 " reordered, at most %" PRIu64 " probes late\n",
			    flow->order.reordered, flow->order.extent_max);
	if (flow->order.lost_in_a_row_max > 1)
		report_text(report, "at most %" PRIu64 " in a row without an answer\n",
			    flow->order.lost_in_a_row_max);
	if (flow->tos_changed > 0)
		report_text(report, "%" PRIu64 " answers with another type of service: sent 0x%02x,"
			    " got 0x%02x\n", flow->tos_changed, (unsigned)flow->tos,
			    (unsigned)flow->tos_seen);
	if (flow->congested > 0)
		report_text(report, "%" PRIu64 " answers marked by a congested router\n",
			    flow->congested);
	if (flow->ttl_changed > 0)
		report_text(report, "%" PRIu64 " answers with another TTL than the first\n",
			    flow->ttl_changed);
	if (flow->unstamped > 0)
		report_text(report, "%" PRIu64 " times are without the kernel's stamps\n",
			    flow->unstamped);
}
