/* SPDX-License-Identifier: MIT */
/*
 * Probes of one datagram each: a header that says which run and which probe it is and when it was
 * sent, then a pattern. What comes back is matched to its probe by the header and compared byte by
 * byte. A probe without room for the header is a pattern alone, so only one may be on its way.
 */
#ifndef ECHOCTL_DATAGRAM_PROBE_H
#define ECHOCTL_DATAGRAM_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "echoctl/probe/pattern.h"

/* Little endian: magic (32 bits), run (64), sequence (32), send time (64). */
#define DATAGRAM_HEADER_BYTES 24
#define DATAGRAM_MATCHED_BYTES 16	/* of it, enough to tell which probe it is */
#define DATAGRAM_MAX_BYTES 65527	/* over IPv6; 65,507 over IPv4 */

struct datagram_probe {
	uint64_t run;		/* random, of this process's run */
	uint32_t sequence;	/* wraps */
	uint64_t sent_ns;	/* CLOCK_MONOTONIC */
	enum pattern pattern;
	size_t size_bytes;
};

/* Which probe bytes belong to, by their header. */
enum datagram_origin {
	DATAGRAM_OURS,		/* its sequence may be damaged */
	DATAGRAM_FOREIGN,	/* of another run */
	DATAGRAM_UNKNOWN,	/* no header, or one beyond recognition */
};

enum datagram_verdict {
	DATAGRAM_INTACT,
	DATAGRAM_CORRUPT,	/* other bytes, or more than sent */
	DATAGRAM_CUT,		/* the beginning, unchanged */
	DATAGRAM_MERGED,	/* unchanged, with another probe behind it */
};

struct datagram_judgement {
	enum datagram_verdict verdict;
	size_t offset_bytes;	/* of the first difference or of the end */
};

/* A random run. */
uint64_t datagram_run(void);

/* bytes has room for size_bytes of the probe. */
void datagram_fill(const struct datagram_probe *probe, uint8_t *bytes);

/* Identifies the beginning of a datagram, also one that an ICMP message quotes. */
enum datagram_origin datagram_identify(const uint8_t *bytes, size_t size, uint64_t run,
				       uint32_t *ret_sequence);

/*
 * Whether an ICMP message that quotes these bytes may be about the probe. Anybody can forge one,
 * but not what the probe carries; a short quotation, or one of a short probe, does not tell.
 */
bool datagram_may_quote(const struct datagram_probe *probe, const uint8_t *bytes, size_t size);

/* Compares an answer with its probe; size may be larger than the probe. */
struct datagram_judgement datagram_judge(const struct datagram_probe *probe, const uint8_t *bytes,
					 size_t size);

/* What is wrong with it: "differs", and the like; "from offset 7 on" may follow. */
const char *datagram_why(const struct datagram_probe *probe, struct datagram_judgement judgement);

#endif
