/* SPDX-License-Identifier: MIT */
/*
 * Bytes that were sent and have not come back yet, shared by the process that sends and the one
 * that compares. One writer, one reader, no lock.
 *
 * The sender must never have to wait for the reader: a server may take in everything before it
 * returns a byte (RFC 862 forbids nothing of the kind), and a full store would then be a deadlock.
 * Nor may a peer that swallows gigabytes use up this side's memory. Hence two stages:
 *
 * - The bytes themselves, in a memory file used as a ring. A block that has been compared is given
 *   back, so the file takes as much memory as is in flight. Up to 128 MiB the comparison is exact.
 * - Once that much is in flight, only a 64-bit digest (FNV-1a) of every 64 KiB is kept, until the
 *   end of the session: 8 MiB of digests stand for 64 GiB. A difference there is still found, and
 *   named by its block. (A block that differs in one byte never has the same digest: every step
 *   of FNV-1a is reversible. Others collide with odds of 2^-64.)
 */
#ifndef ECHOCTL_SESSION_INFLIGHT_H
#define ECHOCTL_SESSION_INFLIGHT_H

#include <stddef.h>
#include <stdint.h>

#define INFLIGHT_EXACT_BYTES (128u << 20)
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

/* Must be in memory that both processes share; only inflight.c uses the fields. */
struct inflight {
	int fd;				/* a ring of exact_bytes, behind it the digests */
	uint64_t exact_bytes;
	_Atomic uint64_t digest_start;	/* offset in the stream, of a block; UINT64_MAX: not yet */
	_Atomic uint64_t recorded;	/* written by the sender */
	_Atomic uint64_t checked;	/* written by the reader */
	uint64_t sent_digest;		/* of the block so far */
	uint64_t got_digest;
};

/*
 * exact_bytes is INFLIGHT_EXACT_BYTES, or in tests a few blocks. Returns 0 or -errno; the caller
 * closes fd, which a fork inherits.
 */
int inflight_open(struct inflight *ret_inflight, size_t exact_bytes);

/* Sender: records bytes about to be sent. Returns 0, or -errno when there is no memory. */
int inflight_put(struct inflight *inflight, const void *bytes, size_t size);

/*
 * Reader: compares what came back with what was sent. After any result but INFLIGHT_EQUAL
 * *ret_difference is set and the store cannot be used any more.
 */
enum inflight_match inflight_check(struct inflight *inflight, const void *bytes, size_t size,
				   struct inflight_difference *ret_difference);

/* Reader, when the sender has ended and all is back: compares the last, partial block. */
enum inflight_match inflight_check_tail(struct inflight *inflight,
					struct inflight_difference *ret_difference);

#endif
