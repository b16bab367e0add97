/* SPDX-License-Identifier: MIT */
/* At once, 100 ms, then twice as long each time, up to 5 s. */
#include "base/backoff.h"

uint32_t backoff_next_ms(struct backoff *backoff, uint64_t lived_ms)
{
	uint32_t delay_ms;

	if (lived_ms >= BACKOFF_FORGET_MS)
		backoff->next_ms = 0;
	delay_ms = backoff->next_ms;
	backoff->next_ms = delay_ms ? delay_ms * 2 : BACKOFF_FIRST_MS;
	if (backoff->next_ms > BACKOFF_MAX_MS)
		backoff->next_ms = BACKOFF_MAX_MS;
	return delay_ms;
}
