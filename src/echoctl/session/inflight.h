/* SPDX-License-Identifier: MIT */
/*
 * What was sent and has not come back yet, shared by the process that sends and the one that
 * compares. One writer, one reader, no lock.
 *
 * The sender must never have to wait for the reader: a server may take in everything before it
 * returns a byte (RFC 862 forbids nothing of the kind), and a full store would then be a deadlock.
 * Nor may a peer that swallows gigabytes take this side's memory. Hence two stages:
 *
 * - The bytes themselves, in segments of a memory file that both processes map when they need
 *   them. A segment that has been compared is used again, so there are as many as have been in
 *   flight at a time. As long as that is less than 128 MiB the comparison is exact.
 * - From the moment on in which that much is in flight, only a 64-bit digest (FNV-1a) of every
 *   64 KiB is kept, until the end of the session: 8 MiB of digests stand for 64 GiB in flight. A
 *   difference there is still found, and named by its block. (A block that differs in one byte
 *   never has the same digest: every step of FNV-1a is reversible. Others collide with odds of
 *   2^-64.)
 */
#ifndef ECHOCTL_SESSION_INFLIGHT_H
#define ECHOCTL_SESSION_INFLIGHT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define INFLIGHT_SEGMENTS 128
#define INFLIGHT_SEGMENT_BYTES (1u << 20)
#define INFLIGHT_BLOCK_BYTES (64u << 10)

enum inflight_match {
	INFLIGHT_EQUAL,
	INFLIGHT_DIFFERS,
	INFLIGHT_EXCESS,		/* more bytes than were sent */
	INFLIGHT_FAILED,		/* the store could not be read; errno */
};

/* Where the first difference is. */
struct inflight_difference {
	uint64_t offset;		/* in the stream, from 0 */
	uint64_t block_bytes;		/* 0: offset is exact; else it is within so many bytes */
	uint8_t sent;			/* both only when exact; sent not for INFLIGHT_EXCESS */
	uint8_t got;
};

struct inflight;

/*
 * A fork may use it together with its parent, one of them as sender. segment_bytes is
 * INFLIGHT_SEGMENT_BYTES, or in tests some pages. NULL with errno if there is no memory.
 */
struct inflight *inflight_new(size_t segment_bytes);
void inflight_free(struct inflight *inflight);

/* Sender: records bytes about to be sent. Returns 0, or -errno when there is no memory. */
int inflight_put(struct inflight *inflight, const void *bytes, size_t size);

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
