/* SPDX-License-Identifier: MIT */
/* Writes what a listener is told: configuration and sockets as the block of wire/settings.h. */
#ifndef ECHOD_GENERATION_SETTINGS_BLOCK_H
#define ECHOD_GENERATION_SETTINGS_BLOCK_H

#include <stdint.h>

#include "echod/configuration/configuration.h"
#include "echod/generation/filter.h"
#include "echod/sockets/sockets.h"
#include "wire/settings.h"

/* Entries that the scoreboard of such a generation needs. */
uint32_t settings_block_slots(const struct configuration *configuration, enum settings_mode mode);

/*
 * Returns a sealed memory file that the caller owns, or -errno (-E2BIG: more sockets, rules or
 * filter instructions than the block may hold). The filters may be empty.
 */
int settings_block_write(const struct configuration *configuration,
			 const struct sockets *sockets, enum settings_mode mode,
			 const struct filter *listener_filter, const struct filter *worker_filter);

#endif
