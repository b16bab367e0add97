/* SPDX-License-Identifier: MIT */
/*
 * The scoreboard of a generation: three shared memory files. The listener writes the table and the
 * supervisor reads it, except for fields that say otherwise; workers do not map it. The workers
 * write the slots: nothing read from there is trusted. The supervisor writes the commands; listener
 * and workers map them from a descriptor that cannot write, so that no mprotect(2) makes them
 * writable.
 */
#ifndef ECHOD_WIRE_SCOREBOARD_H
#define ECHOD_WIRE_SCOREBOARD_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "wire/datagram.h"
#include "wire/endpoint.h"
#include "wire/event.h"
#include "wire/settings.h"

#define TABLE_MAGIC 0x65636874u		/* "echt" */
#define RING_EVENTS 4096u		/* a power of two */
#define FORK_BUCKETS 24u		/* fork latency histogram: bucket i counts < 2^i us */
#define DURATION_BUCKETS 32u		/* of closed connections: bucket i counts < 2^i ms */
#define UNIX_PATH_BYTES 112u		/* with the NUL, unix(7) */
#define END_ROOM 24u			/* with room for new reasons */
#define REFUSE_ROOM 12u

enum entry_state {
	ENTRY_FREE = 0,
	ENTRY_LIVE,		/* a worker with a connection */
};

/* One worker as the listener knows it. pid is stored by the kernel before the worker runs. */
struct entry {
	_Atomic uint32_t state;	/* enum entry_state; stored last when made, first when freed */
	_Atomic int32_t pid;
	_Atomic uint64_t id;	/* serial within the generation, from 1; 0 while free */
	_Atomic uint64_t start_ns;	/* CLOCK_MONOTONIC */
	uint32_t socket;
	struct unique_id unique_id;	/* that the balancer announced with it */
	struct endpoint peer;	/* who is served: the source that a PROXY header announces */
	struct endpoint via;	/* the balancer that announced it, ENDPOINT_NONE: none */
	struct endpoint local;
	uint32_t is_multipath;	/* 1: the connection came over MPTCP */
	uint8_t pad[20];
};

static_assert(sizeof(struct entry) == 256, "crosses a process border");

/* Counters that only the listener writes; they alone are relied on. */
struct totals {
	_Atomic uint64_t accepted;	/* connections taken, refused ones included */
	_Atomic uint64_t closed[END_ROOM];	/* by enum end_reason */
	_Atomic uint64_t refused[REFUSE_ROOM];	/* by enum refuse_reason */
	_Atomic uint64_t bytes_in;	/* of closed connections */
	_Atomic uint64_t bytes_out;
	_Atomic uint64_t empty;		/* closed without a byte (health checks) */
	_Atomic uint64_t events_dropped;	/* the ring was full */
	_Atomic uint64_t starved;	/* accept or fork failed for lack of a resource */
	_Atomic uint64_t fork_histogram[FORK_BUCKETS];
	_Atomic uint64_t fork_sum_us;
	_Atomic uint64_t duration_histogram[DURATION_BUCKETS];
	_Atomic uint64_t duration_sum_us;
};

/* The bucket of a histogram that counts value; the last one has no bound. */
static inline unsigned int histogram_bucket(uint64_t value, unsigned int buckets)
{
	unsigned int bucket = value == 0 ? 0 : 64u - (unsigned int)__builtin_clzll(value);

	return bucket < buckets ? bucket : buckets - 1;
}

/*
 * The part before the ring is the same in every version. With it a supervisor can still count the
 * connections and datagrams of a listener of another version.
 */
struct table {
	uint32_t magic;
	uint32_t version;	/* WIRE_VERSION */
	uint32_t slots;		/* number of entries */
	uint32_t datagrams_at;	/* offset of struct datagrams in this file */
	_Atomic uint32_t live;		/* listener: connections */
	_Atomic uint32_t foreign_live;	/* supervisor: live workers of other generations */
	_Atomic uint32_t asleep;	/* supervisor: 1 = send MESSAGE_WAKE at the next event */
	_Atomic uint32_t waiting;	/* listener: of live, without PROXY header yet */
	_Alignas(64) _Atomic uint64_t ring_head;	/* listener: next to write */
	_Alignas(64) _Atomic uint64_t ring_tail;	/* supervisor: next to read */
	_Alignas(64) struct totals totals;
	_Alignas(64) struct event ring[RING_EVENTS];
	char unix_paths[SETTINGS_MAX_SOCKETS][UNIX_PATH_BYTES];	/* supervisor: "" unless one */
	_Alignas(64) struct entry entries[];
};

#define TABLE_FRONT_BYTES offsetof(struct table, ring)

static_assert(offsetof(struct table, datagrams_at) == 12 && offsetof(struct table, live) == 16 &&
	      offsetof(struct table, foreign_live) == 20 && offsetof(struct table, asleep) == 24 &&
	      offsetof(struct table, waiting) == 28 &&
	      offsetof(struct table, ring_head) == 64 && offsetof(struct table, ring_tail) == 128 &&
	      offsetof(struct table, totals) == 192 &&
	      offsetof(struct totals, duration_sum_us) == 792 && TABLE_FRONT_BYTES == 1024,
	      "the same in every version");
static_assert(END_COUNT <= END_ROOM && REFUSE_COUNT <= REFUSE_ROOM, "the same in every version");

enum slot_command {
	SLOT_RUN = 0,
	SLOT_END_DRAIN,		/* end in an orderly way, the daemon stops */
	SLOT_END_KILLED,	/* the same, ordered by an operator */
};

/*
 * A command and the process that it is for, one word for each slot; 0: none. A worker ignores a
 * command for another process, which had the slot before. Process 0 means any worker of the slot.
 * All of this is the same in every version.
 */
static inline uint64_t command_make(int32_t pid, enum slot_command command)
{
	return (uint64_t)(uint32_t)pid << 32 | command;
}

static inline int32_t command_pid(uint64_t word)
{
	return (int32_t)(word >> 32);
}

static inline uint32_t command_of(uint64_t word)
{
	return (uint32_t)word;
}

/* The command for this worker. */
static inline enum slot_command command_for(const _Atomic uint64_t *word, int32_t pid)
{
	uint64_t value = atomic_load_explicit(word, memory_order_relaxed);

	return command_pid(value) == pid || !command_pid(value) ?
		(enum slot_command)command_of(value) : SLOT_RUN;
}

enum slot_phase {
	SLOT_OPEN = 0,
	SLOT_HALF_CLOSED,	/* the peer's FIN came, the rest is being echoed */
	SLOT_ENDING,		/* our FIN is sent, waiting for the peer's */
};

/* Written by the worker with relaxed stores. Untrusted. */
struct slot {
	_Atomic uint64_t bytes_in;
	_Atomic uint64_t bytes_out;
	_Atomic uint32_t rtt_us;
	_Atomic uint32_t retransmits;
	_Atomic uint32_t phase;		/* enum slot_phase */
	_Atomic uint32_t detail;	/* errno of END_ERROR and END_RESET */
	_Atomic uint64_t proof;		/* at the end: that no byte came, see struct worker_call */
	uint32_t reserved[6];
};

static_assert(sizeof(struct slot) == 64, "crosses a process border");

#define SLOT_BYTES_MAX (1ull << 56)

/* A byte counter of a slot, limited so that signed numbers and sums of many can hold it. */
static inline uint64_t slot_bytes(const _Atomic uint64_t *counter)
{
	uint64_t bytes = atomic_load_explicit(counter, memory_order_relaxed);

	return bytes < SLOT_BYTES_MAX ? bytes : SLOT_BYTES_MAX;
}

/* User and system time, limited to what the field of an event holds. */
static inline uint32_t event_cpu_us(const struct rusage *usage)
{
	int64_t us = ((int64_t)usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * CLOCK_US_PER_S +
		     usage->ru_utime.tv_usec + usage->ru_stime.tv_usec;

	return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/*
 * What entry and slot tell of a connection that has ended. The reaper adds how and when. usage: of
 * the worker, NULL if it is not known.
 */
static inline struct event event_closed(const struct entry *entry, const struct slot *slot,
					uint32_t index, const struct rusage *usage)
{
	return (struct event){
		.type = EVENT_CLOSED,
		.slot = index,
		.id = atomic_load_explicit(&entry->id, memory_order_relaxed),
		.start_ns = atomic_load_explicit(&entry->start_ns, memory_order_relaxed),
		.bytes_in = slot_bytes(&slot->bytes_in),
		.bytes_out = slot_bytes(&slot->bytes_out),
		.cpu_us = usage ? event_cpu_us(usage) : 0,
		.rtt_us = atomic_load_explicit(&slot->rtt_us, memory_order_relaxed),
		.retransmits = atomic_load_explicit(&slot->retransmits, memory_order_relaxed),
		.socket = (uint16_t)entry->socket,
		.detail = atomic_load_explicit(&slot->detail, memory_order_relaxed),
		.peer = entry->peer,
		.via = entry->via,
		.local = entry->local,
		.unique_id = entry->unique_id,
		.is_multipath = entry->is_multipath,
	};
}

static inline uint64_t scoreboard_table_bytes(uint32_t slots)
{
	return sizeof(struct table) + (uint64_t)slots * sizeof(struct entry);
}

/*
 * Behind the table its file has struct datagrams, at the next page of any size that Linux knows:
 * the datagram process maps that and not the table.
 */
static inline uint64_t scoreboard_datagrams_offset(uint32_t slots)
{
	const uint64_t page = 65536;

	return (scoreboard_table_bytes(slots) + page - 1) / page * page;
}

static inline uint64_t scoreboard_table_file_bytes(uint32_t slots)
{
	return scoreboard_datagrams_offset(slots) + sizeof(struct datagrams);
}

static inline uint64_t scoreboard_slots_bytes(uint32_t slots)
{
	return (uint64_t)slots * sizeof(struct slot);
}

static inline uint64_t scoreboard_commands_bytes(uint32_t slots)
{
	return (uint64_t)slots * sizeof(uint64_t);
}

#endif
