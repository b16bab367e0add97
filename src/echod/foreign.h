/* SPDX-License-Identifier: MIT */
/* Tells listeners where the connections of other generations come from. */
#ifndef ECHOD_FOREIGN_H
#define ECHOD_FOREIGN_H

#include <stddef.h>

#include "echod/supervisor.h"
#include "wire/foreign.h"

/* Connections of one source. */
struct foreign_count {
	uint64_t key[2];	/* foreign_key() */
	uint32_t live;
};

/* Merges counts of the same source, in place; writes the largest sources. */
void foreign_publish(struct foreign *foreign, struct foreign_count *counts, size_t count);

/*
 * For each generation that accepts and limits the connections of a source. Returns 0, or
 * -ENOMEM: what was told before stands.
 */
int foreign_share(const struct supervisor *supervisor);

#endif
