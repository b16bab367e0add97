/* SPDX-License-Identifier: MIT */
/* Probes of one datagram each. */
#include "echoctl/datagram/probe.h"

#include <assert.h>
#include <endian.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "echoctl/probe/payload.h"

#define MAGIC UINT32_C(0x64686365)	/* "echd" */
/* Of the 96 bits of magic and run so many may be damaged; another run differs in more. */
#define DAMAGED_BITS_MAX 16

/* The form on the network. */
struct __attribute__((packed)) header {
	uint32_t magic;
	uint64_t run;
	uint32_t sequence;
	uint64_t sent_ns;
};

_Static_assert(sizeof(struct header) == DATAGRAM_HEADER_BYTES, "the header is 24 bytes");
_Static_assert(offsetof(struct header, sent_ns) == DATAGRAM_MATCHED_BYTES, "it begins so");

uint64_t datagram_run(void)
{
	uint64_t run = clock_now_ns();

	/* Without random numbers, which current kernels always have, the time is used. */
	(void)!getrandom(&run, sizeof(run), GRND_NONBLOCK);
	return run;
}

void datagram_fill(const struct datagram_probe *probe, uint8_t *bytes)
{
	const struct header header = {
		.magic = htole32(MAGIC),
		.run = htole64(probe->run),
		.sequence = htole32(probe->sequence),
		.sent_ns = htole64(probe->sent_ns),
	};
	size_t at = probe->size_bytes >= sizeof(header) ? sizeof(header) : 0;
	size_t left = probe->size_bytes - at;

	if (at > 0)
		memcpy(bytes, &header, sizeof(header));
	/* Random bytes differ from probe to probe. */
	pattern_fill(probe->pattern,
		     probe->pattern == PATTERN_RANDOM ? (uint64_t)probe->sequence << 16 : 0,
		     bytes + at, left);
	if (probe->pattern == PATTERN_RANDOM && at > 0)
		memcpy(bytes + at, payload_fragile,
		       left < PAYLOAD_FRAGILE_BYTES ? left : PAYLOAD_FRAGILE_BYTES);
}

enum datagram_origin datagram_identify(const uint8_t *bytes, size_t size, uint64_t run,
				       uint32_t *ret_sequence)
{
	struct header header;
	int damaged_bits;

	if (size < DATAGRAM_MATCHED_BYTES)
		return DATAGRAM_UNKNOWN;
	memcpy(&header, bytes, DATAGRAM_MATCHED_BYTES);
	damaged_bits = __builtin_popcount(le32toh(header.magic) ^ MAGIC) +
		__builtin_popcountll(le64toh(header.run) ^ run);
	if (damaged_bits > DAMAGED_BITS_MAX)
		return le32toh(header.magic) == MAGIC ? DATAGRAM_FOREIGN : DATAGRAM_UNKNOWN;
	*ret_sequence = le32toh(header.sequence);
	return DATAGRAM_OURS;
}

bool datagram_may_quote(const struct datagram_probe *probe, const uint8_t *bytes, size_t size)
{
	uint32_t sequence;

	return probe->size_bytes < DATAGRAM_HEADER_BYTES || size < DATAGRAM_MATCHED_BYTES ||
		datagram_identify(bytes, size, probe->run, &sequence) == DATAGRAM_OURS;
}

struct datagram_judgement datagram_judge(const struct datagram_probe *probe, const uint8_t *bytes,
					 size_t size)
{
	static uint8_t sent[DATAGRAM_MAX_BYTES];
	struct datagram_judgement judgement = {.verdict = DATAGRAM_INTACT};
	size_t both = size < probe->size_bytes ? size : probe->size_bytes;
	uint32_t sequence;

	assert(probe->size_bytes <= sizeof(sent));
	datagram_fill(probe, sent);
	judgement.offset_bytes = payload_count_equal(bytes, sent, both);
	if (judgement.offset_bytes < both)
		judgement.verdict = DATAGRAM_CORRUPT;
	else if (size < probe->size_bytes)
		judgement.verdict = DATAGRAM_CUT;
	else if (size > probe->size_bytes)
		judgement.verdict = datagram_identify(bytes + both, size - both, probe->run,
						      &sequence) == DATAGRAM_OURS ?
			DATAGRAM_MERGED : DATAGRAM_CORRUPT;
	return judgement;
}

const char *datagram_why(const struct datagram_probe *probe, struct datagram_judgement judgement)
{
	switch (judgement.verdict) {
	case DATAGRAM_CUT:
		return "cut off";
	case DATAGRAM_MERGED:
		return "another probe behind it";
	default:
		return judgement.offset_bytes < probe->size_bytes ? "differs" :
			"more bytes than sent";
	}
}
