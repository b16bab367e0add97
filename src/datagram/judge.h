/* SPDX-License-Identifier: MIT */
/* Which datagrams get an answer. */
#ifndef DATAGRAM_JUDGE_H
#define DATAGRAM_JUDGE_H

#include <stdint.h>

#include "base/pace.h"
#include "datagram/reception.h"
#include "wire/datagram.h"
#include "wire/settings.h"

#define JUDGE_ROWS 4096u	/* a power of two */
#define JUDGE_WAYS 4u

struct judge_source {
	uint64_t key[2];		/* the prefix of the address */
	struct bucket bucket;		/* last_ns == 0: never used */
};

struct judge {
	const struct settings *settings;
	uint64_t seed;			/* random: no peer can predict its row */
	struct bucket all;		/* udp { rate } */
	struct judge_source sources[JUDGE_ROWS][JUDGE_WAYS];
};

/* The judge's memory is zeroed. */
void judge_init(struct judge *judge, const struct settings *settings, uint64_t seed,
		uint64_t now_ns);

/*
 * Returns how many of count datagrams that came merged as one (count 1: a plain one) on this socket
 * get an answer, counted from the first; the others are dropped for *ret_reason.
 */
uint32_t judge_datagrams(struct judge *judge, const struct settings_socket *socket,
			 const struct reception *reception, uint32_t count, uint64_t now_ns,
			 enum drop_reason *ret_reason);

#endif
