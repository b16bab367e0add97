/* SPDX-License-Identifier: MIT */
/* Sums over all generations of the daemon. */
#ifndef ECHOD_STATE_TOTALS_H
#define ECHOD_STATE_TOTALS_H

#include "echod/state/state.h"

/* What the daemon has done since its start; generations that are gone count too. */
void totals_sum(const struct supervisor *supervisor, struct tally *ret_tally);

/* Live connections, of all generations and of all but one. */
uint32_t totals_live(const struct supervisor *supervisor);
uint32_t totals_foreign_live(const struct supervisor *supervisor,
			     const struct generation *generation);

/* What the live connections have received and sent so far, at this moment. */
void totals_live_bytes(const struct supervisor *supervisor, uint64_t *ret_in, uint64_t *ret_out);

/* How many generations are alive. */
unsigned totals_generations(const struct supervisor *supervisor);

#endif
