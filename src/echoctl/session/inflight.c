/* SPDX-License-Identifier: MIT */
/* Bytes, then digests, in a memory file: see the header. */
#include "echoctl/session/inflight.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FNV_OFFSET_BASIS 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u
#define NONE UINT64_MAX

int inflight_open(struct inflight *ret_inflight, size_t exact_bytes)
{
	int fd;

	assert(exact_bytes > 0 && exact_bytes % INFLIGHT_BLOCK_BYTES == 0);
	fd = memfd_create("echoctl-inflight", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_inflight = (struct inflight){
		.fd = fd, .exact_bytes = exact_bytes, .digest_start = NONE,
	};
	return 0;
}

static size_t smaller(uint64_t a, uint64_t b)
{
	return (size_t)(a < b ? a : b);
}

/* At most the rest of the block of this offset in the stream. */
static size_t piece_of(uint64_t offset, size_t size)
{
	return smaller(size, INFLIGHT_BLOCK_BYTES - offset % INFLIGHT_BLOCK_BYTES);
}

/* The place in the file of the digest of that block. */
static off_t digest_at(const struct inflight *inflight, uint64_t offset)
{
	uint64_t block = (offset - inflight->digest_start) / INFLIGHT_BLOCK_BYTES;

	return (off_t)(inflight->exact_bytes + block * sizeof(uint64_t));
}

static void add_to_digest(uint64_t *digest, uint64_t offset, const uint8_t *bytes, size_t size)
{
	uint64_t sum = offset % INFLIGHT_BLOCK_BYTES == 0 ? FNV_OFFSET_BASIS : *digest;

	for (size_t i = 0; i < size; i++)
		sum = (sum ^ bytes[i]) * FNV_PRIME;
	*digest = sum;
}

/* Records one piece: itself, or the digest of its block so far. Returns 0 or -errno. */
static int put_piece(struct inflight *inflight, const uint8_t *bytes, size_t size)
{
	uint64_t offset = inflight->recorded;
	off_t at = (off_t)(offset % inflight->exact_bytes);
	ssize_t n;

	if (offset >= inflight->digest_start) {
		add_to_digest(&inflight->sent_digest, offset, bytes, size);
		bytes = (const uint8_t *)&inflight->sent_digest;
		size = sizeof(inflight->sent_digest);
		at = digest_at(inflight, offset);
	}
	n = pwrite(inflight->fd, bytes, size, at);
	if (n < 0)
		return -errno;
	/* RLIMIT_FSIZE ends within it. */
	return (size_t)n == size ? 0 : -EFBIG;
}

int inflight_put(struct inflight *inflight, const void *bytes, size_t size)
{
	const uint8_t *next = bytes;

	while (size > 0) {
		uint64_t offset = inflight->recorded;
		size_t piece = piece_of(offset, size);
		int r;

		if (inflight->digest_start == NONE && offset % INFLIGHT_BLOCK_BYTES == 0 &&
		    offset + INFLIGHT_BLOCK_BYTES > inflight->checked + inflight->exact_bytes)
			inflight->digest_start = offset;
		r = put_piece(inflight, next, piece);
		if (r < 0)
			return r;
		inflight->recorded += piece;
		next += piece;
		size -= piece;
	}
	return 0;
}

/* Compares one piece with the bytes. */
static enum inflight_match check_bytes(const struct inflight *inflight, const uint8_t *bytes,
				       size_t size, struct inflight_difference *ret_difference)
{
	static uint8_t sent[INFLIGHT_BLOCK_BYTES];
	off_t at = (off_t)(inflight->checked % inflight->exact_bytes);
	off_t end = at + (off_t)size;
	size_t same = 0;

	if (pread(inflight->fd, sent, size, at) != (ssize_t)size)
		return INFLIGHT_FAILED;
	if (memcmp(sent, bytes, size) == 0) {
		if (end % INFLIGHT_BLOCK_BYTES == 0)
			fallocate(inflight->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  end - INFLIGHT_BLOCK_BYTES, INFLIGHT_BLOCK_BYTES);
		return INFLIGHT_EQUAL;
	}
	while (sent[same] == bytes[same])
		same++;
	*ret_difference = (struct inflight_difference){
		.offset = inflight->checked + same, .sent = sent[same], .got = bytes[same],
	};
	return INFLIGHT_DIFFERS;
}

/* Compares the digest of the block that begins at the offset, of which size bytes are back. */
static enum inflight_match check_block(const struct inflight *inflight, uint64_t offset,
				       size_t size, struct inflight_difference *ret_difference)
{
	uint64_t digest;

	if (pread(inflight->fd, &digest, sizeof(digest), digest_at(inflight, offset)) !=
	    sizeof(digest))
		return INFLIGHT_FAILED;
	if (digest == inflight->got_digest)
		return INFLIGHT_EQUAL;
	*ret_difference = (struct inflight_difference){ .offset = offset, .block_bytes = size };
	return INFLIGHT_DIFFERS;
}

/* Adds one piece to the digest of its block, and compares that when the block is whole. */
static enum inflight_match check_digest(struct inflight *inflight, const uint8_t *bytes,
					size_t size, struct inflight_difference *ret_difference)
{
	uint64_t end = inflight->checked + size;

	add_to_digest(&inflight->got_digest, inflight->checked, bytes, size);
	if (end % INFLIGHT_BLOCK_BYTES != 0)
		return INFLIGHT_EQUAL;
	return check_block(inflight, end - INFLIGHT_BLOCK_BYTES, INFLIGHT_BLOCK_BYTES,
			   ret_difference);
}

enum inflight_match inflight_check(struct inflight *inflight, const void *bytes, size_t size,
				   struct inflight_difference *ret_difference)
{
	const uint8_t *next = bytes;
	uint64_t recorded = inflight->recorded;
	size_t known = smaller(size, recorded - inflight->checked);

	for (size_t left = known; left > 0;) {
		size_t piece = piece_of(inflight->checked, left);
		enum inflight_match match;

		if (inflight->checked >= inflight->digest_start)
			match = check_digest(inflight, next, piece, ret_difference);
		else
			match = check_bytes(inflight, next, piece, ret_difference);
		if (match != INFLIGHT_EQUAL)
			return match;
		inflight->checked += piece;
		next += piece;
		left -= piece;
	}
	if (known == size)
		return INFLIGHT_EQUAL;
	*ret_difference = (struct inflight_difference){ .offset = recorded, .got = *next };
	return INFLIGHT_EXCESS;
}

enum inflight_match inflight_check_tail(struct inflight *inflight,
					struct inflight_difference *ret_difference)
{
	uint64_t checked = inflight->checked;
	size_t tail = checked % INFLIGHT_BLOCK_BYTES;

	if (checked <= inflight->digest_start || checked != inflight->recorded || tail == 0)
		return INFLIGHT_EQUAL;
	return check_block(inflight, checked - tail, tail, ret_difference);
}
