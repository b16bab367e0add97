/* SPDX-License-Identifier: MIT */
/* How a generation comes to life: scoreboard, settings, channel, process. */
#ifndef ECHOD_GENERATION_LAUNCH_H
#define ECHOD_GENERATION_LAUNCH_H

#include "echod/generation/generation.h"

/* Makes a generation without hooks or event source. Logs what fails; returns 0 or -errno. */
int generation_launch(const struct generation_plan *plan, struct generation **ret_generation);

#endif
