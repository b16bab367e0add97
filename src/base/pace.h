/* SPDX-License-Identifier: MIT */
/* How often something may be done. Pure arithmetic, no clock of its own. */
#ifndef ECHOD_BASE_PACE_H
#define ECHOD_BASE_PACE_H

#include <stdint.h>

#define BACKOFF_FIRST_MS 100u
#define BACKOFF_MAX_MS 5000u
#define BACKOFF_FORGET_MS 10000u	/* after this long a life the delay starts again */

/* A token bucket: so many a second, bursts up to a bound. */
struct bucket {
	uint64_t tokens_ns;	/* tokens in store, as time */
	uint64_t last_ns;	/* when it was last filled */
};

/* A full bucket at time now_ns. rate: tokens a second, > 0; burst: most tokens in store, > 0. */
void bucket_init(struct bucket *bucket, uint64_t now_ns, uint32_t rate, uint32_t burst);

/* Takes up to wanted tokens; returns how many there were. A clock that steps back adds nothing. */
uint32_t bucket_take(struct bucket *bucket, uint64_t now_ns, uint32_t rate, uint32_t burst,
		     uint32_t wanted);

/* How long to wait before a new try of something that failed. */
struct backoff {
	uint32_t next_ms;	/* 0: at once */
};

/*
 * The delay before the next try, after something that lived for lived_ms: at once, 100 ms, then
 * twice as long each time, up to 5 s.
 */
uint32_t backoff_next_ms(struct backoff *backoff, uint64_t lived_ms);

#endif
