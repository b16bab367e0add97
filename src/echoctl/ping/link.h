/* SPDX-License-Identifier: MIT */
/*
 * One connection that carries probes: sends them without waiting, cuts the echo into pieces of the
 * size of a probe, and says which probe each piece answers.
 */
#ifndef ECHOCTL_PING_LINK_H
#define ECHOCTL_PING_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Result of a probe. */
enum ping_result {
	PING_OK,
	PING_LATE,	/* it came back, but not in time */
	PING_LOST,	/* it will never come back */
	PING_CORRUPT,	/* its size came back with other bytes, or more than was sent */
	PING_CUT,	/* only its beginning came back; UDP, as the next five */
	PING_MERGED,	/* it came back in one datagram with another */
	PING_UNREACHABLE,	/* an ICMP error came back */
	PING_DUPLICATE,	/* it came back once more, after one of the results above */
	PING_REFUSED,	/* too large for this machine's interface */
	PING_UNSENT,	/* due, but the peer did not read */
	PING_OVERDUE,	/* not in time; one of the results above will follow */
	PING_RESULTS,
};

struct ping_probe {
	uint64_t sequence;
	uint64_t sent_ns;	/* CLOCK_MONOTONIC; it is also in the payload */
	uint64_t stopped_ns;	/* how long since then this process was stopped */
	bool answered;		/* UDP: it has a result */
};

struct datagram_event;

struct ping_reply {
	enum ping_result result;	/* PING_OK, PING_LOST or PING_CORRUPT; UDP: more */
	const char *why;		/* unless PING_OK; until the next reply */
	struct ping_probe probe;
	uint64_t rtt_ns;		/* if PING_OK or PING_DUPLICATE */
	bool reordered;			/* UDP: a later probe was faster */
	const struct datagram_event *event;	/* UDP: what came, until the next reply */
	size_t offset_bytes;		/* of the first difference, if corrupt */
};

struct ping_link {
	int fd;				/* -1: free */
	bool connecting;		/* the first probe waits for it */
	uint64_t started_ns;		/* when connecting began */
	uint64_t connected_ns;
	uint64_t overdue;		/* unanswered probes that were reported overdue */
	size_t size_bytes;		/* of every probe */
	uint8_t *out;			/* the probe being sent, and how much of it is */
	size_t out_bytes;
	uint8_t *in;			/* the echo being received */
	size_t in_bytes;
	struct ping_probe *window;	/* ring of the probes not answered */
	size_t capacity;
	size_t oldest;
	size_t count;			/* 0 if the link is free */
};

/*
 * Takes over fd, a socket that is connected or connecting, even on failure. capacity: probes that
 * may be unanswered at a time. Returns 0 or -ENOMEM.
 */
int ping_link_open(struct ping_link *link, int fd, size_t size_bytes, size_t capacity);

/* Frees and closes; may be called on a link that is free. */
void ping_link_close(struct ping_link *link);

/* The index-th of the unanswered probes, the oldest first. */
struct ping_probe *ping_link_probe(const struct ping_link *link, size_t index);

/* Removes the oldest of them. */
void ping_link_drop(struct ping_link *link);

/* True while a part of the last probe waits for the peer to read. */
bool ping_link_blocked(const struct ping_link *link);

/*
 * Sends a probe, or as much of it as possible without waiting; while connecting, nothing. Returns
 * 0; -EAGAIN if blocked or full; -errno.
 */
int ping_link_send(struct ping_link *link, uint64_t sequence);

/*
 * Connecting has ended: sends the probe that waits. Returns 0 or -errno; link->connecting tells
 * whether the error is that of connecting.
 */
int ping_link_connected(struct ping_link *link);

/* Sends the rest of a probe. Returns 0 or -errno; being blocked is no error. */
int ping_link_flush(struct ping_link *link);

/*
 * Returns 1 with the next reply, 0 if there is none yet, else -errno: -ENODATA if the peer has
 * closed, -EBADMSG if it sent bytes that no probe waits for. A link for a single probe sees bytes
 * behind its echo at once, another one with the next reply.
 */
int ping_link_receive(struct ping_link *link, struct ping_reply *ret_reply);

#endif
