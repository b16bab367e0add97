/* SPDX-License-Identifier: MIT */
/* The pool of socket pairs, and who waits on which. */
#include "listener/spares.h"

#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/sys.h"
#include "listener/memory.h"
#include "listener/spawn.h"
#include "listener/state.h"
#include "worker/worker.h"

#define PAIRS_IN_FLIGHT 2u /* beside those with a spare: every descriptor makes a fork dearer */
#define NO_PAIR_NS 2000000u
#define BACKOFF_FIRST_NS 100000000u
#define BACKOFF_LAST_NS (10ull * CLOCK_NS_PER_S)

static void queue_put(const struct spares *spares, struct spare_queue *queue, uint32_t pair)
{
	queue->pairs[(queue->first + queue->count++) % spares->count] = pair;
}

/* The queue is not empty. */
static uint32_t queue_take(const struct spares *spares, struct spare_queue *queue)
{
	uint32_t pair = queue->pairs[queue->first];

	queue->first = (queue->first + 1) % spares->count;
	queue->count--;
	return pair;
}

static void queue_remove(const struct spares *spares, struct spare_queue *queue, uint32_t pair)
{
	for (uint32_t left = queue->count; left > 0; left--) {
		uint32_t other = queue_take(spares, queue);

		if (other != pair)
			queue_put(spares, queue, other);
	}
}

static void spares_set_count(struct listener *listener)
{
	atomic_store_explicit(&listener->table->spares, listener->spares.waiting.count,
			      memory_order_relaxed);
}

static int pair_open(struct spare_pair *pair)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	pair->ours = fds[0];
	pair->theirs = fds[1];
	pair->slot = SLOTS_NONE;
	return 0;
}

int spares_open(struct listener *listener)
{
	struct spares *spares = &listener->spares;
	uint32_t slots = listener->settings->slots;

	spares->target = listener->settings->spare_workers;
	if (spares->target == 0)
		return 0;
	spares->count = spares->target + PAIRS_IN_FLIGHT;
	spares->backoff_ns = BACKOFF_FIRST_NS;
	spares->pairs = memory_get(spares->count * sizeof(*spares->pairs));
	spares->pair_of = memory_get(slots * sizeof(*spares->pair_of));
	spares->waiting.pairs = memory_get(spares->count * sizeof(uint32_t));
	spares->idle.pairs = memory_get(spares->count * sizeof(uint32_t));
	if (spares->pairs == NULL || spares->pair_of == NULL || spares->waiting.pairs == NULL ||
	    spares->idle.pairs == NULL)
		return -ENOMEM;
	memset(spares->pair_of, 0xff, slots * sizeof(*spares->pair_of));
	for (uint32_t i = 0; i < spares->count; i++) {
		int r = pair_open(&spares->pairs[i]);

		if (r < 0)
			return r;
		queue_put(spares, &spares->idle, i);
	}
	return 0;
}

int spares_highest_fd(const struct listener *listener)
{
	int highest = -1;

	for (uint32_t i = 0; i < listener->spares.count; i++) {
		const struct spare_pair *pair = &listener->spares.pairs[i];

		highest = pair->ours > highest ? pair->ours : highest;
		highest = pair->theirs > highest ? pair->theirs : highest;
	}
	return highest;
}

/* One message: the order, and the connection as SCM_RIGHTS (unix(7)). */
static int pair_send(const struct spare_pair *pair, const struct connection *connection)
{
	struct worker_order order = { .flags = connection->flags };
	struct iovec part = { .iov_base = &order, .iov_len = sizeof(order) };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control.bytes) };
	ssize_t n;

	memset(&control, 0, sizeof(control));
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &connection->fd, sizeof(int));
	n = sys_sendmsg(pair->ours, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? (int)n : 0;
}

int spares_hand_over(struct listener *listener, struct connection *connection)
{
	struct spares *spares = &listener->spares;
	const struct spare_pair *pair;
	uint32_t index;
	int r;

	if (spares->waiting.count == 0)
		return -ENOENT;
	index = queue_take(spares, &spares->waiting);
	pair = &spares->pairs[index];
	spawn_fill_entry(listener, pair->slot, connection);
	spawn_set_live(listener, listener->live + 1);
	r = pair_send(pair, connection);
	if (r < 0) {
		spawn_set_live(listener, listener->live - 1);
		spawn_fill_spare(listener, pair->slot);
		queue_put(spares, &spares->waiting, index);
		return r;
	}
	spawn_settle(listener, pair->slot, connection);
	queue_put(spares, &spares->idle, index);
	spares->backoff_ns = BACKOFF_FIRST_NS;
	spares_set_count(listener);
	return 0;
}

/* What is still in the pair belongs to the spare it was sent to. */
static bool pair_is_empty(const struct spare_pair *pair)
{
	int size = 0;

	return sys_ioctl(pair->theirs, FIONREAD, &size) == 0 && size == 0;
}

/* A pair that is free for another spare, or SPARES_NONE. */
static uint32_t spares_take_pair(struct listener *listener)
{
	struct spares *spares = &listener->spares;

	for (uint32_t left = spares->idle.count; left > 0; left--) {
		uint32_t index = queue_take(spares, &spares->idle);
		struct spare_pair *pair = &spares->pairs[index];

		if (pair->slot == SLOTS_NONE || pair_is_empty(pair)) {
			if (pair->slot != SLOTS_NONE)
				spares->pair_of[pair->slot] = SPARES_NONE;
			return index;
		}
		queue_put(spares, &spares->idle, index);
	}
	return SPARES_NONE;
}

static void spares_back_off(struct spares *spares)
{
	spares->retry_ns = clock_now_ns() + spares->backoff_ns;
	spares->backoff_ns *= 2;
	if (spares->backoff_ns > BACKOFF_LAST_NS)
		spares->backoff_ns = BACKOFF_LAST_NS;
}

static int spares_fork_one(struct listener *listener)
{
	struct spares *spares = &listener->spares;
	uint32_t index = spares_take_pair(listener);
	struct spare_pair *pair = &spares->pairs[index];
	int r;

	if (index == SPARES_NONE)
		return -EBUSY;
	pair->slot = SLOTS_NONE;
	r = spawn_spare(listener, pair->theirs, &pair->slot);
	if (r < 0) {
		queue_put(spares, &spares->idle, index);
		return r;
	}
	spares->pair_of[pair->slot] = index;
	queue_put(spares, &spares->waiting, index);
	spares_set_count(listener);
	return 0;
}

void spares_replenish(struct listener *listener)
{
	struct spares *spares = &listener->spares;
	uint64_t due_ns = spares_due_ns(listener);

	int r;

	if (due_ns == UINT64_MAX || (due_ns != 0 && clock_now_ns() < due_ns))
		return;
	spares->retry_ns = 0;
	/* The spare that has just got a connection may wait for this processor: its echo is due
	 * before its replacement (first echo of a lone client 93 against 110 us). */
	sys_yield();
	r = spares_fork_one(listener);
	if (r == -EBUSY)
		spares->retry_ns = clock_now_ns() + NO_PAIR_NS;
	else if (r < 0)
		spares_back_off(spares);
}

uint64_t spares_due_ns(const struct listener *listener)
{
	const struct spares *spares = &listener->spares;

	if (listener->is_stopping || spares->waiting.count >= spares->target)
		return UINT64_MAX;
	return spares->retry_ns;
}

/* Throws away a connection that its spare did not live to take. */
static void pair_drain(const struct spare_pair *pair)
{
	char byte;

	while (sys_recv(pair->theirs, &byte, sizeof(byte), MSG_DONTWAIT) > 0)
		;
}

bool spares_reaped(struct listener *listener, uint32_t slot)
{
	struct spares *spares = &listener->spares;
	uint32_t state = atomic_load_explicit(&listener->table->entries[slot].state,
					      memory_order_relaxed);
	uint32_t index = spares->target > 0 ? spares->pair_of[slot] : SPARES_NONE;

	if (index == SPARES_NONE)
		return false;
	spares->pair_of[slot] = SPARES_NONE;
	spares->pairs[index].slot = SLOTS_NONE;
	if (!listener->is_stopping)
		pair_drain(&spares->pairs[index]);
	if (state != ENTRY_SPARE)
		return false;
	queue_remove(spares, &spares->waiting, index);
	queue_put(spares, &spares->idle, index);
	spares_back_off(spares);
	spares_set_count(listener);
	return true;
}

void spares_close(struct listener *listener)
{
	for (uint32_t i = 0; i < listener->spares.count; i++) {
		struct spare_pair *pair = &listener->spares.pairs[i];

		pair->ours = fd_close(pair->ours);
		pair->theirs = fd_close(pair->theirs);
	}
}
