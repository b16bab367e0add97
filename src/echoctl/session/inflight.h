/* SPDX-License-Identifier: MIT */
/*
 * What was sent and has not come back yet, shared by the process that sends and the one that
 * compares. One writer, one reader, no lock.
 *
 * The sender must never have to wait for the reader: a server may take in everything before it
 * returns a byte (RFC 862 forbids nothing of the kind), and a full ring would then be a
 * deadlock. Nor may a peer that swallows gigabytes take this side's memory. Hence two stages:
 *
 * - Rings of bytes. The first is small; when one is full the next, twice as large, takes what
 *   follows (their addresses are reserved at the start, memory comes with use). As long as
 *   less than the last ring's 128 MiB is in flight the comparison is exact.
 * - When the last ring is full, only a 64-bit digest (FNV-1a) of every 64 KiB is kept, until
 *   the end of the session: 8 MiB of digests stand for 64 GiB in flight. A difference there is
 *   still found, and named by its block. (A block that differs in one byte never has the same
 *   digest: every step of FNV-1a is reversible. Others collide with odds of 2^-64.)
 *
 * With 64 GiB in flight the sender has to wait, and the session's stall deadline ends it.
 */
#ifndef ECHOCTL_SESSION_INFLIGHT_H
#define ECHOCTL_SESSION_INFLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INFLIGHT_RINGS_MAX 16

/* All powers of two. */
struct inflight_sizes {
	size_t first_ring_bytes;
	unsigned n_rings;		/* each twice the one before; 1 to INFLIGHT_RINGS_MAX */
	size_t block_bytes;		/* what one digest stands for */
	size_t n_digests;
};

extern const struct inflight_sizes inflight_default_sizes;

enum inflight_match {
	INFLIGHT_EQUAL,
	INFLIGHT_DIFFERS,
	INFLIGHT_EXCESS,		/* more bytes than were sent */
};

/* Where the first difference is. */
struct inflight_difference {
	uint64_t offset;		/* in the stream, from 0 */
	uint64_t block_bytes;		/* 0: offset is exact; else it is within so many bytes */
	uint8_t sent;			/* both only when exact; sent not for INFLIGHT_EXCESS */
	uint8_t got;
};

struct inflight;

/* In memory that a fork shares. NULL with errno when there is none. */
struct inflight *inflight_new(const struct inflight_sizes *sizes);
void inflight_free(struct inflight *inflight);

/* Sender: records bytes about to be sent; returns how many it took, 0 when there is no room. */
size_t inflight_put(struct inflight *inflight, const void *bytes, size_t size);

/*
 * Reader: compares what came back with what was sent. After anything but INFLIGHT_EQUAL
 * *ret_difference is set and the store is of no more use.
 */
enum inflight_match inflight_check(struct inflight *inflight, const void *bytes, size_t size,
				   struct inflight_difference *ret_difference);

/* Reader, when the sender has ended and all is back: compares the last, partial block. */
enum inflight_match inflight_check_tail(struct inflight *inflight,
					struct inflight_difference *ret_difference);

#endif
