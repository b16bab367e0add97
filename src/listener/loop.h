/* SPDX-License-Identifier: MIT */
/* The listener's loop. */
#ifndef LISTENER_LOOP_H
#define LISTENER_LOOP_H

#include "listener/state.h"

/* Serves until it was told to stop and the last worker is reaped. */
void loop_run(struct listener *listener);

#endif
