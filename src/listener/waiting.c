/* SPDX-License-Identifier: MIT */
/*
 * Connections of balancers that wait for their PROXY header. Each is looked at before it is read:
 * the bytes of the header are taken, so that poll(2) does not tell of them again, and those behind
 * it are left to the worker.
 */
#include <assert.h>

#include "base/clock.h"
#include "base/sys.h"
#include "listener/listener.h"

int waiting_init(struct listener *listener)
{
	struct waiting *all;

	if (listener->settings->proxy_timeout_us == 0)
		return 0;
	all = tables_memory(SETTINGS_MAX_WAITING * sizeof(*all));
	for (uint32_t i = 0; all && i < SETTINGS_MAX_WAITING; i++)
		listener->waiting[i] = &all[i];
	return all ? 0 : -ENOMEM;
}

static void set_count(struct listener *listener, uint32_t count)
{
	listener->waiting_count = count;
	atomic_store_explicit(&listener->table->waiting, count, memory_order_relaxed);
}

void waiting_add(struct listener *listener, const struct connection *connection)
{
	struct waiting *waiting = listener->waiting[listener->waiting_count];

	assert(listener->waiting_count < SETTINGS_MAX_WAITING);
	waiting->connection = *connection;
	waiting->deadline_ns = connection->start_ns + listener->settings->proxy_timeout_us * 1000;
	waiting->size = 0;
	set_count(listener, listener->waiting_count + 1);
	listener_set_live(listener, listener_live(listener) + 1);
}

int waiting_read(struct waiting *waiting, struct proxy_header *ret_header)
{
	const int fd = waiting->connection.fd;
	uint8_t *more = waiting->bytes + waiting->size;
	ssize_t n = sys_recv(fd, more, sizeof(waiting->bytes) - waiting->size,
			     MSG_PEEK | MSG_DONTWAIT);
	ssize_t length;

	if (n == -EAGAIN || n == -EINTR)
		return 0;
	if (n <= 0 && waiting->size == 0)
		return n < 0 ? (int)n : -ENODATA;
	if (n <= 0)
		return -EPROTO;
	length = proxy_parse(waiting->bytes, waiting->size + (size_t)n, ret_header);
	if (length < 0)
		return -EPROTO;
	if (length > 0)
		n = length - (ssize_t)waiting->size;
	if (sys_recv(fd, more, (size_t)n, MSG_DONTWAIT) != n)
		return -EPROTO;
	waiting->size += (size_t)n;
	return length > 0;
}

struct connection waiting_remove(struct listener *listener, uint32_t index)
{
	struct waiting *waiting = listener->waiting[index];

	assert(index < listener->waiting_count);
	set_count(listener, listener->waiting_count - 1);
	listener->waiting[index] = listener->waiting[listener->waiting_count];
	listener->waiting[listener->waiting_count] = waiting;
	listener_set_live(listener, listener_live(listener) - 1);
	return waiting->connection;
}

uint64_t waiting_deadline_ns(const struct listener *listener)
{
	uint64_t deadline_ns = UINT64_MAX;

	for (uint32_t i = 0; i < listener->waiting_count; i++) {
		if (listener->waiting[i]->deadline_ns < deadline_ns)
			deadline_ns = listener->waiting[i]->deadline_ns;
	}
	return deadline_ns;
}
