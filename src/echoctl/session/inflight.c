/* SPDX-License-Identifier: MIT */
/* Growing rings of bytes, then digests: see the header. */
#include "echoctl/session/inflight.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define FNV_OFFSET_BASIS 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u
#define UNUSED UINT64_MAX

const struct inflight_sizes inflight_default_sizes = {
	.first_ring_bytes = 1u << 20,
	.n_rings = 8,
	.block_bytes = 1u << 16,
	.n_digests = 1u << 20,
};

struct inflight {
	struct inflight_sizes sizes;
	size_t mapped_bytes;
	uint8_t *rings[INFLIGHT_RINGS_MAX];
	uint64_t *digests;
	/* Stream offset where each stage begins; the writer sets it before it moves on. */
	_Atomic uint64_t ring_start[INFLIGHT_RINGS_MAX];
	_Atomic uint64_t digest_start;
	_Atomic uint64_t recorded;	/* written by the sender */
	_Atomic uint64_t checked;	/* written by the reader */
	unsigned put_ring;		/* the sender's own */
	uint64_t put_digest;
	unsigned check_ring;		/* the reader's own */
	uint64_t check_digest;
};

static size_t ring_bytes(const struct inflight *inflight, unsigned ring)
{
	return inflight->sizes.first_ring_bytes << ring;
}

struct inflight *inflight_new(const struct inflight_sizes *sizes)
{
	size_t header = (sizeof(struct inflight) + 4095) & ~(size_t)4095;
	size_t rings = sizes->first_ring_bytes * ((1u << sizes->n_rings) - 1);
	size_t total = header + rings + sizes->n_digests * sizeof(uint64_t);
	struct inflight *inflight;
	uint8_t *next;

	inflight = mmap(NULL, total, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (inflight == MAP_FAILED)
		return NULL;
	inflight->sizes = *sizes;
	inflight->mapped_bytes = total;
	next = (uint8_t *)inflight + header;
	inflight->digests = (uint64_t *)(void *)next;
	next += sizes->n_digests * sizeof(uint64_t);
	for (unsigned i = 0; i < sizes->n_rings; i++) {
		inflight->rings[i] = next;
		next += ring_bytes(inflight, i);
		atomic_init(&inflight->ring_start[i], i == 0 ? 0 : UNUSED);
	}
	atomic_init(&inflight->digest_start, UNUSED);
	inflight->put_digest = FNV_OFFSET_BASIS;
	inflight->check_digest = FNV_OFFSET_BASIS;
	return inflight;
}

void inflight_free(struct inflight *inflight)
{
	if (inflight != NULL)
		munmap(inflight, inflight->mapped_bytes);
}

static uint64_t digest_add(uint64_t digest, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		digest = (digest ^ bytes[i]) * FNV_PRIME;
	return digest;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static size_t smaller(uint64_t a, uint64_t b)
{
	return (size_t)(a < b ? a : b);
}

/* Room in the ring in use, after moving on to the next one when that is full. */
static size_t ring_room(struct inflight *inflight, uint64_t recorded, uint64_t checked)
{
	for (;;) {
		unsigned ring = inflight->put_ring;
		uint64_t oldest = larger(checked, inflight->ring_start[ring]);
		size_t room = ring_bytes(inflight, ring) - (size_t)(recorded - oldest);

		if (room > 0)
			return room;
		if (ring + 1 == inflight->sizes.n_rings) {
			inflight->digest_start = recorded;
			return 0;
		}
		inflight->ring_start[ring + 1] = recorded;
		inflight->put_ring++;
	}
}

/* One contiguous run of bytes. */
static size_t put_bytes(struct inflight *inflight, uint64_t recorded, size_t room,
			const uint8_t *bytes, size_t size)
{
	unsigned ring = inflight->put_ring;
	size_t bound = ring_bytes(inflight, ring);
	size_t at = (size_t)(recorded - inflight->ring_start[ring]) & (bound - 1);

	size = smaller(size, smaller(room, bound - at));
	memcpy(inflight->rings[ring] + at, bytes, size);
	return size;
}

/* No more than the rest of one block; its digest so far is in the table at once. */
static size_t put_digest(struct inflight *inflight, uint64_t recorded, uint64_t checked,
			 const uint8_t *bytes, size_t size)
{
	size_t block_bytes = inflight->sizes.block_bytes;
	size_t n_digests = inflight->sizes.n_digests;
	uint64_t start = inflight->digest_start;
	uint64_t at = recorded - start;
	uint64_t block = at / block_bytes;

	if (block - (larger(checked, start) - start) / block_bytes >= n_digests)
		return 0;
	size = smaller(size, block_bytes - at % block_bytes);
	if (at % block_bytes == 0)
		inflight->put_digest = FNV_OFFSET_BASIS;
	inflight->put_digest = digest_add(inflight->put_digest, bytes, size);
	inflight->digests[block & (n_digests - 1)] = inflight->put_digest;
	return size;
}

size_t inflight_put(struct inflight *inflight, const void *bytes, size_t size)
{
	const uint8_t *next = bytes;
	size_t left = size;
	size_t taken = 1;

	while (left > 0 && taken > 0) {
		uint64_t recorded = inflight->recorded;
		uint64_t checked = inflight->checked;
		size_t room = 0;

		if (inflight->digest_start == UNUSED)
			room = ring_room(inflight, recorded, checked);
		if (room > 0)
			taken = put_bytes(inflight, recorded, room, next, left);
		else
			taken = put_digest(inflight, recorded, checked, next, left);
		inflight->recorded = recorded + taken;
		next += taken;
		left -= taken;
	}
	return size - left;
}

static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t size)
{
	size_t i = 0;

	while (i < size && a[i] == b[i])
		i++;
	return i;
}

/* Compares one contiguous run; returns its size, 0 when it differs. */
static size_t check_bytes(struct inflight *inflight, uint64_t checked, const uint8_t *bytes,
			  size_t size, struct inflight_difference *ret_difference)
{
	unsigned ring = inflight->check_ring;
	unsigned next = ring + 1;
	uint64_t end = inflight->digest_start;
	size_t bound;
	size_t at;
	size_t same;

	if (next < inflight->sizes.n_rings && inflight->ring_start[next] != UNUSED) {
		end = inflight->ring_start[next];
		if (checked == end) {
			/* Nothing comes back to a ring that has been left: give its memory up. */
			madvise(inflight->rings[ring], ring_bytes(inflight, ring), MADV_REMOVE);
			inflight->check_ring++;
			return check_bytes(inflight, checked, bytes, size, ret_difference);
		}
	}
	bound = ring_bytes(inflight, ring);
	at = (size_t)(checked - inflight->ring_start[ring]) & (bound - 1);
	size = smaller(size, smaller(end - checked, bound - at));
	if (memcmp(inflight->rings[ring] + at, bytes, size) == 0)
		return size;
	same = first_difference(inflight->rings[ring] + at, bytes, size);
	*ret_difference = (struct inflight_difference){
		.offset = checked + same,
		.sent = inflight->rings[ring][at + same],
		.got = bytes[same],
	};
	return 0;
}

static bool digest_matches(const struct inflight *inflight, uint64_t at, size_t size,
			   struct inflight_difference *ret_difference)
{
	uint64_t block = at / inflight->sizes.block_bytes;

	if (inflight->digests[block & (inflight->sizes.n_digests - 1)] == inflight->check_digest)
		return true;
	*ret_difference = (struct inflight_difference){
		.offset = inflight->digest_start + block * inflight->sizes.block_bytes,
		.block_bytes = size,
	};
	return false;
}

/* Takes no more than the rest of one block; returns the size, 0 when the block differs. */
static size_t check_digest(struct inflight *inflight, uint64_t checked, const uint8_t *bytes,
			   size_t size, struct inflight_difference *ret_difference)
{
	size_t block_bytes = inflight->sizes.block_bytes;
	uint64_t at = checked - inflight->digest_start;

	size = smaller(size, block_bytes - at % block_bytes);
	if (at % block_bytes == 0)
		inflight->check_digest = FNV_OFFSET_BASIS;
	inflight->check_digest = digest_add(inflight->check_digest, bytes, size);
	if ((at + size) % block_bytes == 0 &&
	    !digest_matches(inflight, at, block_bytes, ret_difference))
		return 0;
	return size;
}

enum inflight_match inflight_check(struct inflight *inflight, const void *bytes, size_t size,
				   struct inflight_difference *ret_difference)
{
	const uint8_t *next = bytes;
	uint64_t recorded = inflight->recorded;
	uint64_t checked = inflight->checked;
	size_t left = smaller(size, recorded - checked);
	bool excess = left < size;
	size_t same;

	while (left > 0) {
		if (checked >= inflight->digest_start)
			same = check_digest(inflight, checked, next, left, ret_difference);
		else
			same = check_bytes(inflight, checked, next, left, ret_difference);
		if (same == 0)
			return INFLIGHT_DIFFERS;
		checked += same;
		next += same;
		left -= same;
		inflight->checked = checked;
	}
	if (!excess)
		return INFLIGHT_EQUAL;
	*ret_difference = (struct inflight_difference){.offset = recorded, .got = *next};
	return INFLIGHT_EXCESS;
}

enum inflight_match inflight_check_tail(struct inflight *inflight,
					struct inflight_difference *ret_difference)
{
	uint64_t checked = inflight->checked;
	size_t tail;

	if (checked <= inflight->digest_start || checked != inflight->recorded)
		return INFLIGHT_EQUAL;
	tail = (size_t)(checked - inflight->digest_start) % inflight->sizes.block_bytes;
	if (tail == 0 || digest_matches(inflight, checked - 1 - inflight->digest_start, tail,
					ret_difference))
		return INFLIGHT_EQUAL;
	return INFLIGHT_DIFFERS;
}
