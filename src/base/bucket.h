/* SPDX-License-Identifier: MIT */
/* A token bucket: so many a second, bursts up to a bound. Pure arithmetic, no clock of its own. */
#ifndef ECHOD_BASE_BUCKET_H
#define ECHOD_BASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
	uint64_t tokens_ns;	/* time worth of tokens in store */
	uint64_t last_ns;	/* when it was last filled */
};

/* A full bucket at time now_ns. rate: tokens a second, > 0; burst: most tokens in store, > 0. */
void bucket_init(struct bucket *bucket, uint64_t now_ns, uint32_t rate, uint32_t burst);

/* Takes one token; false when there is none. A clock that steps back adds nothing. */
bool bucket_take(struct bucket *bucket, uint64_t now_ns, uint32_t rate, uint32_t burst);

#endif
