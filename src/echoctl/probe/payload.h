/* SPDX-License-Identifier: MIT */
/*
 * The bytes that measuring commands send. They identify their message, so that a stale, shifted,
 * foreign or changed echo is never accepted.
 */
#ifndef ECHOCTL_PROBE_PAYLOAD_H
#define ECHOCTL_PROBE_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAYLOAD_HEADER_BYTES 16		/* sequence and send time, little endian */
#define PAYLOAD_FRAGILE_BYTES 24

/*
 * What a path is likely to change, the likeliest first, since a short message holds the beginning
 * alone: letters of both cases, line ends of all kinds, NUL, Telnet's IAC, bytes above 127 that are
 * no UTF-8, flow control and other control characters.
 */
extern const uint8_t payload_fragile[PAYLOAD_FRAGILE_BYTES];

/*
 * Fills a probe: its sequence and its CLOCK_MONOTONIC send time, payload_fragile, then a
 * pattern that follows from the sequence. A shorter probe carries as much of that as fits, low
 * bytes of the sequence first.
 */
void payload_fill(uint8_t *bytes, size_t size, uint64_t sequence, uint64_t sent_ns);

/* Offset of the first byte that differs from payload_fill(); size when none does. */
size_t payload_mismatch(const uint8_t *bytes, size_t size, uint64_t sequence, uint64_t sent_ns);

/* How many bytes are the same before the first that differs; size when none does. */
size_t payload_count_equal(const uint8_t *one, const uint8_t *two, size_t size);

/*
 * Whether echoes begin with a header of the PROXY protocol (proxy-protocol.txt of haproxy): a
 * balancer sends one to a server that is not told to expect it. payload_look() gets the first bytes
 * of an echo that is wrong, and payload_saw_proxy() says whether one of them was such a header;
 * after payload_share() in processes that are forked from then on, too.
 */
void payload_share(void);
void payload_look(const void *bytes, size_t size);
bool payload_saw_proxy(void);

/*
 * Whether a connection was closed before anything came back on it, which the server's limits do.
 * payload_note_end() gets the -errno (-ENODATA: a FIN) that ended one, and how many bytes had come;
 * it counts in other processes as payload_look() does.
 */
void payload_note_end(int error, uint64_t received_bytes);
bool payload_was_refused(void);

/*
 * A table of random bytes. Every message is a window of it: no message has to be filled, and 2^16
 * windows distinguish the messages. Messages of 64 bytes and more hold payload_fragile.
 */
#define PAYLOAD_WINDOWS 65536u

/* Returns size + PAYLOAD_WINDOWS bytes that the caller frees, or NULL (ENOMEM). */
uint8_t *payload_table_new(size_t size);

/* Where in the table this message of this connection begins. */
static inline size_t payload_window(uint64_t connection, uint64_t message)
{
	return (size_t)((connection * 7919 + message * 31) % PAYLOAD_WINDOWS);
}

#endif
