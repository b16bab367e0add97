/* SPDX-License-Identifier: MIT */
/* How long to wait before something that failed is tried again. */
#ifndef ECHOD_BASE_BACKOFF_H
#define ECHOD_BASE_BACKOFF_H

#include <stdint.h>

#define BACKOFF_FIRST_MS 100u
#define BACKOFF_MAX_MS 5000u
#define BACKOFF_FORGET_MS 10000u	/* what lived that long was well */

struct backoff {
	uint32_t next_ms;	/* 0: at once */
};

/* The delay before the next try, after something that lived for lived_ms. */
uint32_t backoff_next_ms(struct backoff *backoff, uint64_t lived_ms);

#endif
