/* SPDX-License-Identifier: MIT */
/* Each line stands in the buffer behind its size. */
#include "echod/log/queue.h"

#include <string.h>

bool log_queue_put(struct log_queue *queue, const char *bytes, size_t size)
{
	size_t used = queue->tail - queue->head;

	if (size > LOG_QUEUE_BYTES || used + sizeof(size) + size > LOG_QUEUE_BYTES)
		return false;
	if (queue->tail + sizeof(size) + size > LOG_QUEUE_BYTES) {
		memmove(queue->bytes, queue->bytes + queue->head, used);
		queue->head = 0;
		queue->tail = used;
	}
	memcpy(queue->bytes + queue->tail, &size, sizeof(size));
	memcpy(queue->bytes + queue->tail + sizeof(size), bytes, size);
	queue->tail += sizeof(size) + size;
	queue->count++;
	return true;
}

const char *log_queue_first(const struct log_queue *queue, size_t *ret_size)
{
	if (queue->count == 0)
		return NULL;
	memcpy(ret_size, queue->bytes + queue->head, sizeof(*ret_size));
	return queue->bytes + queue->head + sizeof(*ret_size);
}

void log_queue_drop(struct log_queue *queue)
{
	size_t size;

	if (log_queue_first(queue, &size) == NULL)
		return;
	queue->head += sizeof(size) + size;
	queue->count--;
	if (queue->count == 0)
		queue->head = queue->tail = 0;
}
