/* SPDX-License-Identifier: MIT */
/* The side that hands over: what it knows as sealed memory files, kept open over exec(3). */
#ifndef ECHOD_HANDOVER_GIVE_H
#define ECHOD_HANDOVER_GIVE_H

#include <stdbool.h>

#include "echod/state/state.h"

/* The settings as the text of a configuration file. Returns the caller's descriptor or -errno. */
int give_settings(const struct configuration *configuration);

/*
 * The block; settings_fd is what give_settings() made. All that it names is kept too. Returns the
 * caller's descriptor or -errno.
 */
int give_block(const struct supervisor *supervisor, int settings_fd, bool is_rehearsal);

#endif
