/* SPDX-License-Identifier: MIT */
/* The load generator's modes and what they share: options, pattern, clock, samples. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define MESSAGE_BYTES 64u

struct load_options {
	struct sockaddr_in target;	/* always within 127.0.0.0/8 */
	unsigned clients;		/* connections in flight, or flows of datagrams */
	unsigned window;		/* datagrams of a flow in flight */
	unsigned bytes;			/* of a datagram */
	bool is_merged;			/* a window goes out as one message */
	unsigned sources;		/* addresses from 127.1.0.1 up, 0 = the kernel's choice */
	uint64_t count;			/* connections, messages or bytes: stop after so many */
	uint64_t duration_ns;		/* or after so long */
	uint64_t stall_ns;		/* a connection without progress for so long has failed */
};

/* Latencies in ns, at most `capacity` of them; later ones replace none. */
struct samples {
	uint32_t *ns;
	size_t count;
	size_t capacity;
};

/* 0, or -ENOMEM. The memory is touched at once, so that filling it later costs no page fault. */
int samples_allocate(struct samples *s, size_t capacity);
void samples_add(struct samples *s, uint64_t ns);
void samples_free(struct samples *s);
/* Prints `"NAME":{"p50":..,"p90":..,"p99":..,"max":..}` in microseconds; sorts the samples. */
void samples_print(struct samples *s, const char *name);

/* A message that only connection number `serial` sends. */
void message_fill(uint8_t message[MESSAGE_BYTES], uint64_t serial);

/* Binds to the serial's source address where options want one; 0 or -errno. */
int source_bind(int fd, const struct load_options *options, uint64_t serial);

/* Each prints a JSON line; 0, 1 where the echo was at fault, -errno where the generator was. */
int load_rate(const struct load_options *options);
int load_hold(const struct load_options *options);
int load_ping(const struct load_options *options);
int load_datagram(const struct load_options *options);
int load_stream(const struct load_options *options);

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#endif
