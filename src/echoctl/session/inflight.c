/* SPDX-License-Identifier: MIT */
/* Bytes in a memory file, then digests in another: see the header. */
#include "echoctl/session/inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"

#define FNV_OFFSET_BASIS 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u
#define NONE UINT64_MAX
#define FORGET_BYTES (1u << 20)		/* of digests, given back at a time */

/* What both processes see. */
struct shared {
	_Atomic uint64_t digest_start;	/* offset in the stream; NONE: not yet */
	_Atomic uint64_t recorded;	/* written by the sender */
	_Atomic uint64_t checked;	/* written by the reader */
	uint8_t slots[INFLIGHT_SEGMENTS];	/* where in the file a segment of the stream is */
};

/* The rest is the own of each process. */
struct inflight {
	struct shared *shared;
	size_t segment_bytes;
	int bytes_fd;			/* slots of segment_bytes */
	int digests_fd;			/* one for each block from digest_start on */
	uint8_t *mapped[INFLIGHT_SEGMENTS];	/* by slot; NULL: not yet */
	unsigned n_slots;		/* the sender's */
	uint64_t reused;		/* the sender's: segments whose slots are used again */
	uint64_t digest;		/* of the block so far */
};

struct inflight *inflight_new(size_t segment_bytes)
{
	struct inflight *inflight = calloc(1, sizeof(*inflight));

	if (!inflight)
		return NULL;
	inflight->segment_bytes = segment_bytes;
	inflight->bytes_fd = memfd_create("echoctl-bytes", MFD_CLOEXEC);
	inflight->digests_fd = memfd_create("echoctl-digests", MFD_CLOEXEC);
	inflight->shared = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (inflight->bytes_fd < 0 || inflight->digests_fd < 0 ||
	    inflight->shared == MAP_FAILED) {
		inflight_free(inflight);
		return NULL;
	}
	inflight->shared->digest_start = NONE;
	return inflight;
}

void inflight_free(struct inflight *inflight)
{
	if (!inflight)
		return;
	for (size_t i = 0; i < INFLIGHT_SEGMENTS && inflight->mapped[i]; i++)
		munmap(inflight->mapped[i], inflight->segment_bytes);
	if (inflight->shared != MAP_FAILED)
		munmap(inflight->shared, sizeof(struct shared));
	fd_close(inflight->bytes_fd);
	fd_close(inflight->digests_fd);
	free(inflight);
}

/* Where the byte at that offset of the stream is kept; NULL with errno: it cannot be mapped. */
static uint8_t *locate(struct inflight *inflight, uint64_t offset)
{
	uint64_t segment = offset / inflight->segment_bytes;
	uint8_t slot = inflight->shared->slots[segment % INFLIGHT_SEGMENTS];
	void *mapped = inflight->mapped[slot];

	if (!mapped)
		mapped = mmap(NULL, inflight->segment_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			      inflight->bytes_fd, (off_t)(slot * inflight->segment_bytes));
	if (mapped == MAP_FAILED)
		return NULL;
	inflight->mapped[slot] = mapped;
	return inflight->mapped[slot] + offset % inflight->segment_bytes;
}

/* at: offset of the bytes from digest_start. */
static void add_to_digest(struct inflight *inflight, uint64_t at, const uint8_t *bytes,
			  size_t size)
{
	uint64_t digest = inflight->digest;

	if (at % INFLIGHT_BLOCK_BYTES == 0)
		digest = FNV_OFFSET_BASIS;
	for (size_t i = 0; i < size; i++)
		digest = (digest ^ bytes[i]) * FNV_PRIME;
	inflight->digest = digest;
}

static size_t smaller(uint64_t a, uint64_t b)
{
	return (size_t)(a < b ? a : b);
}

/*
 * A slot for the next segment: one whose bytes have been compared, or else a new one. If there is
 * none the digests begin. Returns 0 or -errno.
 */
static int take_slot(struct inflight *inflight)
{
	struct shared *shared = inflight->shared;
	uint64_t segment = shared->recorded / inflight->segment_bytes;
	uint8_t slot = (uint8_t)inflight->n_slots;

	if (inflight->reused < shared->checked / inflight->segment_bytes) {
		slot = shared->slots[inflight->reused++ % INFLIGHT_SEGMENTS];
	} else if (inflight->n_slots == INFLIGHT_SEGMENTS) {
		shared->digest_start = shared->recorded;
		return 0;
	} else {
		inflight->n_slots++;
		if (ftruncate(inflight->bytes_fd,
			      (off_t)(inflight->n_slots * inflight->segment_bytes)) < 0)
			return -errno;
	}
	shared->slots[segment % INFLIGHT_SEGMENTS] = slot;
	return 0;
}

/* No more than the rest of one segment. Returns how many bytes it took, or -errno. */
static ssize_t put_bytes(struct inflight *inflight, const uint8_t *bytes, size_t size)
{
	uint64_t recorded = inflight->shared->recorded;
	uint8_t *to = locate(inflight, recorded);

	if (!to)
		return -errno;
	size = smaller(size, inflight->segment_bytes - recorded % inflight->segment_bytes);
	memcpy(to, bytes, size);
	return (ssize_t)size;
}

/* No more than the rest of one block; its digest so far is in the store at once. */
static ssize_t put_digest(struct inflight *inflight, const uint8_t *bytes, size_t size)
{
	uint64_t at = inflight->shared->recorded - inflight->shared->digest_start;
	uint64_t block = at / INFLIGHT_BLOCK_BYTES;

	size = smaller(size, INFLIGHT_BLOCK_BYTES - at % INFLIGHT_BLOCK_BYTES);
	add_to_digest(inflight, at, bytes, size);
	if (pwrite(inflight->digests_fd, &inflight->digest, sizeof(uint64_t),
		   (off_t)(block * sizeof(uint64_t))) < 0)
		return -errno;
	return (ssize_t)size;
}

int inflight_put(struct inflight *inflight, const void *bytes, size_t size)
{
	struct shared *shared = inflight->shared;
	const uint8_t *next = bytes;

	while (size > 0) {
		ssize_t taken = 0;

		if (shared->digest_start == NONE && shared->recorded % inflight->segment_bytes == 0)
			taken = take_slot(inflight);
		if (taken == 0 && shared->digest_start == NONE)
			taken = put_bytes(inflight, next, size);
		else if (taken == 0)
			taken = put_digest(inflight, next, size);
		if (taken < 0)
			return (int)taken;
		shared->recorded += (uint64_t)taken;
		next += taken;
		size -= (size_t)taken;
	}
	return 0;
}

/* Compares one piece, *size becomes its size. */
static enum inflight_match check_bytes(struct inflight *inflight, const uint8_t *bytes,
				       size_t *size, struct inflight_difference *ret_difference)
{
	uint64_t checked = inflight->shared->checked;
	const uint8_t *sent = locate(inflight, checked);
	size_t same = 0;

	if (!sent)
		return INFLIGHT_FAILED;
	*size = smaller(*size, inflight->segment_bytes - checked % inflight->segment_bytes);
	if (memcmp(sent, bytes, *size) == 0)
		return INFLIGHT_EQUAL;
	while (sent[same] == bytes[same])
		same++;
	*ret_difference = (struct inflight_difference){
		.offset = checked + same, .sent = sent[same], .got = bytes[same],
	};
	return INFLIGHT_DIFFERS;
}

/* Compares the digest of the block at an offset from digest_start, of which size bytes are back. */
static enum inflight_match check_block(const struct inflight *inflight, uint64_t at, size_t size,
				       struct inflight_difference *ret_difference)
{
	uint64_t block = at / INFLIGHT_BLOCK_BYTES;
	uint64_t end = (block + 1) * sizeof(uint64_t);
	uint64_t digest;

	if (pread(inflight->digests_fd, &digest, sizeof(digest),
		  (off_t)(end - sizeof(digest))) != sizeof(digest))
		return INFLIGHT_FAILED;
	if (end % FORGET_BYTES == 0)
		fallocate(inflight->digests_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)(end - FORGET_BYTES), FORGET_BYTES);
	if (digest == inflight->digest)
		return INFLIGHT_EQUAL;
	*ret_difference = (struct inflight_difference){
		.offset = inflight->shared->digest_start + block * INFLIGHT_BLOCK_BYTES,
		.block_bytes = size,
	};
	return INFLIGHT_DIFFERS;
}

/* Takes no more than the rest of one block, and compares when that is whole. */
static enum inflight_match check_digest(struct inflight *inflight, const uint8_t *bytes,
					size_t *size, struct inflight_difference *ret_difference)
{
	uint64_t at = inflight->shared->checked - inflight->shared->digest_start;

	*size = smaller(*size, INFLIGHT_BLOCK_BYTES - at % INFLIGHT_BLOCK_BYTES);
	add_to_digest(inflight, at, bytes, *size);
	if ((at + *size) % INFLIGHT_BLOCK_BYTES != 0)
		return INFLIGHT_EQUAL;
	return check_block(inflight, at, INFLIGHT_BLOCK_BYTES, ret_difference);
}

enum inflight_match inflight_check(struct inflight *inflight, const void *bytes, size_t size,
				   struct inflight_difference *ret_difference)
{
	struct shared *shared = inflight->shared;
	const uint8_t *next = bytes;
	uint64_t recorded = shared->recorded;
	size_t known = smaller(size, recorded - shared->checked);

	for (size_t left = known; left > 0;) {
		enum inflight_match match;
		size_t piece = left;

		if (shared->checked >= shared->digest_start)
			match = check_digest(inflight, next, &piece, ret_difference);
		else
			match = check_bytes(inflight, next, &piece, ret_difference);
		if (match != INFLIGHT_EQUAL)
			return match;
		shared->checked += piece;
		next += piece;
		left -= piece;
	}
	if (known == size)
		return INFLIGHT_EQUAL;
	*ret_difference = (struct inflight_difference){.offset = recorded, .got = *next};
	return INFLIGHT_EXCESS;
}

enum inflight_match inflight_check_tail(struct inflight *inflight,
					struct inflight_difference *ret_difference)
{
	uint64_t checked = inflight->shared->checked;
	uint64_t start = inflight->shared->digest_start;
	size_t tail = (checked - start) % INFLIGHT_BLOCK_BYTES;

	if (checked <= start || checked != inflight->shared->recorded || tail == 0)
		return INFLIGHT_EQUAL;
	return check_block(inflight, checked - 1 - start, tail, ret_difference);
}
