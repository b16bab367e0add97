/* SPDX-License-Identifier: MIT */
/* CLOCK_MONOTONIC as one number. */
#ifndef ECHOD_BASE_CLOCK_H
#define ECHOD_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define CLOCK_NS_PER_S 1000000000u
#define CLOCK_US_PER_S 1000000u
#define CLOCK_NS_PER_US 1000u

static inline uint64_t clock_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * CLOCK_NS_PER_S + (uint64_t)now.tv_nsec;
}

#endif
