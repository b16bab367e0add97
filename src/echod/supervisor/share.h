/* SPDX-License-Identifier: MIT */
/* Tells listeners where the connections of other generations come from. */
#ifndef ECHOD_SUPERVISOR_SHARE_H
#define ECHOD_SUPERVISOR_SHARE_H

#include <stddef.h>

#include "echod/state/state.h"
#include "wire/foreign.h"

/* Connections of one source. */
struct foreign_count {
	uint64_t key[2];	/* foreign_key() */
	uint32_t live;
};

struct foreign_counts {
	struct foreign_count *items;	/* owned */
	size_t count;
};

/*
 * Counts the live connections of all generations but reader (NULL: of all) with the prefixes of
 * limit; none when it limits nothing. Returns 0 or -ENOMEM; the caller frees the items.
 */
int foreign_count(const struct supervisor *supervisor, const struct generation *reader,
		  const struct source_limit *limit, struct foreign_counts *ret_counts);

/* Writes them, the largest sources if there are too many; sorts and merges the items. */
void foreign_publish(struct foreign *foreign, const struct foreign_counts *counts);

/* Both for each generation that accepts. -ENOMEM: what was told before stands. */
int foreign_share(const struct supervisor *supervisor);

#endif
