/* SPDX-License-Identifier: MIT */
/*
 * One connection that carries probes: sends them without waiting, puts the echo together
 * again by size however the stream was cut, and says which probe each piece answers.
 */
#ifndef ECHOCTL_PING_LINK_H
#define ECHOCTL_PING_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ping_probe {
	uint64_t sequence;
	uint64_t sent_ns;	/* CLOCK_MONOTONIC; it also stands in the payload */
};

enum ping_result {
	PING_INTACT,		/* the probe came back as it was sent */
	PING_CORRUPT,		/* its size came back with other bytes */
	PING_OVERTAKEN,		/* a later one came back: this one never will */
	PING_SURPLUS,		/* the probe came back as it was sent, and more behind it */
};

struct ping_reply {
	enum ping_result result;
	struct ping_probe probe;
	uint64_t received_ns;
	size_t offset_bytes;	/* of the first difference, for PING_CORRUPT and PING_SURPLUS */
};

struct ping_link {
	int fd;				/* -1: free */
	size_t size_bytes;		/* of every probe */
	uint8_t *out;			/* the probe being sent, and how much of it is */
	size_t out_bytes;
	uint8_t *in;			/* the echo being received */
	size_t in_bytes;
	uint64_t in_ns;
	struct ping_probe *window;	/* ring of the probes not answered */
	size_t capacity;
	size_t oldest;
	size_t count;
};

/*
 * Takes over fd, a connected socket or one on its way. capacity: probes that may be unanswered at
 * a time. Returns 0, or -ENOMEM; fd is the caller's then.
 */
int ping_link_open(struct ping_link *link, int fd, size_t size_bytes, size_t capacity);

/* Frees and closes; may be called on a link that is free. */
void ping_link_close(struct ping_link *link);

/* The index-th of the unanswered probes, the oldest first. */
const struct ping_probe *ping_link_probe(const struct ping_link *link, size_t index);

/* True while a part of the last probe waits for the peer to read. */
bool ping_link_blocked(const struct ping_link *link);

/* Sends a probe, or as much of it as goes. Returns 0; -EAGAIN when blocked or full; -errno. */
int ping_link_send(struct ping_link *link, uint64_t sequence);

/* Sends the rest of a probe. Returns 0 or -errno; being blocked is no error. */
int ping_link_flush(struct ping_link *link);

/*
 * Returns 1 with the next reply, 0 when there is none yet, else -errno: -ENODATA when the
 * peer has closed, -EBADMSG when it sent bytes that no probe waits for.
 */
int ping_link_receive(struct ping_link *link, struct ping_reply *ret_reply);

/* Whether bytes are there already that are not part of a reply taken so far. Does not wait. */
bool ping_link_has_more(const struct ping_link *link);

#endif
