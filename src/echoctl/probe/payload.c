/* SPDX-License-Identifier: MIT */
/* Bytes of the measuring commands. */
#include "echoctl/probe/payload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FRAGILE_PERIOD 40u	/* in the table of all messages */

const uint8_t payload_fragile[PAYLOAD_FRAGILE_BYTES] = {
	'a', 'Z', '\r', '\n', 0x00, 0xff, 0x80, '\n', 'z', '\r', 'A', 0xe4, 0xff, 0xff,
	0x11, 0x13, 0x1a, 0x04, 0x03, 0x08, 0x7f, '\t', 0x1b, ' ',
};

struct clues {
	bool proxy;
	bool refused;
};

static struct clues seen_here;
static struct clues *clues = &seen_here;	/* or in memory that is shared with children */

static uint8_t byte_at(size_t offset, uint64_t sequence, uint64_t sent_ns)
{
	if (offset < 8)
		return (uint8_t)(sequence >> 8 * offset);
	if (offset < PAYLOAD_HEADER_BYTES)
		return (uint8_t)(sent_ns >> 8 * (offset - 8));
	if (offset < PAYLOAD_HEADER_BYTES + PAYLOAD_FRAGILE_BYTES)
		return payload_fragile[offset - PAYLOAD_HEADER_BYTES];
	/* The period of 251 fits no buffer size, so that a shift by one is seen too. */
	return (uint8_t)(offset % 251 + sequence);
}

void payload_fill(uint8_t *bytes, size_t size, uint64_t sequence, uint64_t sent_ns)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = byte_at(i, sequence, sent_ns);
}

size_t payload_mismatch(const uint8_t *bytes, size_t size, uint64_t sequence, uint64_t sent_ns)
{
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] != byte_at(i, sequence, sent_ns))
			return i;
	}
	return size;
}

size_t payload_count_equal(const uint8_t *one, const uint8_t *two, size_t size)
{
	size_t equal = 0;

	if (memcmp(one, two, size) == 0)
		return size;
	while (one[equal] == two[equal])
		equal++;
	return equal;
}

uint8_t *payload_table_new(size_t size)
{
	uint8_t *table = malloc(size + PAYLOAD_WINDOWS);
	uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

	if (!table)
		return NULL;
	for (size_t i = 0; i < size + PAYLOAD_WINDOWS; i++) {
		/* xorshift64 (Marsaglia, 2003) */
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		table[i] = (uint8_t)(state >> 32);
	}
	/* So close together that every message holds all of them, if it has 64 bytes. */
	for (size_t i = 0; size >= 64 && i < size + PAYLOAD_WINDOWS - 64; i += FRAGILE_PERIOD)
		memcpy(table + i, payload_fragile, sizeof(payload_fragile));
	return table;
}

void payload_share(void)
{
	struct clues *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared != MAP_FAILED)
		clues = shared;
}

void payload_look(const void *bytes, size_t size)
{
	static const char beginnings[][6] = { "PROXY", "\r\n\r\n" };	/* of both versions */

	for (size_t i = 0; size >= 5 && i < 2; i++) {
		if (memcmp(bytes, beginnings[i], 5) == 0)
			clues->proxy = true;
	}
}

bool payload_saw_proxy(void)
{
	return clues->proxy;
}

void payload_note_end(int error, uint64_t received_bytes)
{
	if (received_bytes == 0 && (error == -ENODATA || error == -ECONNRESET || error == -EPIPE))
		clues->refused = true;
}

bool payload_was_refused(void)
{
	return clues->refused;
}
