/* SPDX-License-Identifier: MIT */
/* Encoded lines that wait for their sink: first in, first out, bounded. */
#ifndef ECHOD_LOG_QUEUE_H
#define ECHOD_LOG_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

/* Bridges a burst: a datagram socket may hold as few as ten lines (net.unix.max_dgram_qlen). */
#define LOG_QUEUE_BYTES (256 * 1024)

/* Starts as {}. */
struct log_queue {
	size_t head;			/* first byte in use */
	size_t tail;			/* first free byte */
	size_t count;
	char bytes[LOG_QUEUE_BYTES];
};

/* False, and nothing changed, when there is no room. */
bool log_queue_put(struct log_queue *queue, const char *bytes, size_t size);

/* The oldest line, or NULL; it stays until log_queue_drop(). */
const char *log_queue_first(const struct log_queue *queue, size_t *ret_size);

void log_queue_drop(struct log_queue *queue);

#endif
