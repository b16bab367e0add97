/* SPDX-License-Identifier: MIT */
/* How often something may be done. */
#include "base/pace.h"

#include <assert.h>

#include "base/clock.h"

/*
 * The time that one token stands for; at least a nanosecond, so that tokens always cost something.
 */
static uint64_t token_ns(uint32_t rate)
{
	assert(rate > 0);
	return rate < CLOCK_NS_PER_S ? CLOCK_NS_PER_S / rate : 1;
}

void bucket_init(struct bucket *bucket, uint64_t now_ns, uint32_t rate, uint32_t burst)
{
	bucket->tokens_ns = token_ns(rate) * burst;
	bucket->last_ns = now_ns;
}

uint32_t bucket_take(struct bucket *bucket, uint64_t now_ns, uint32_t rate, uint32_t burst,
		     uint32_t wanted)
{
	uint64_t cost_ns = token_ns(rate);
	uint64_t full_ns = cost_ns * burst;

	if (now_ns > bucket->last_ns) {
		uint64_t elapsed_ns = now_ns - bucket->last_ns;

		bucket->last_ns = now_ns;
		if (bucket->tokens_ns >= full_ns || elapsed_ns >= full_ns - bucket->tokens_ns)
			bucket->tokens_ns = full_ns;
		else
			bucket->tokens_ns += elapsed_ns;
	}
	if (bucket->tokens_ns < cost_ns * wanted)
		wanted = (uint32_t)(bucket->tokens_ns / cost_ns);
	bucket->tokens_ns -= cost_ns * wanted;
	return wanted;
}

uint32_t backoff_next_ms(struct backoff *backoff, uint64_t lived_ms)
{
	uint32_t delay_ms = lived_ms < BACKOFF_FORGET_MS ? backoff->next_ms : 0;

	backoff->next_ms = delay_ms > 0 ? delay_ms * 2 : BACKOFF_FIRST_MS;
	if (backoff->next_ms > BACKOFF_MAX_MS)
		backoff->next_ms = BACKOFF_MAX_MS;
	return delay_ms;
}
