/* SPDX-License-Identifier: MIT */
/* The supervisor: one event loop over signals, generations, timers and the service manager. */
#ifndef ECHOD_SUPERVISOR_SUPERVISOR_H
#define ECHOD_SUPERVISOR_SUPERVISOR_H

#include "echod/command_line/options.h"
#include "echod/configuration/configuration.h"

/*
 * Runs the daemon until it is drained. configuration (owned from now on) came from
 * configuration_fd (owned, may be -1). Returns 0 after a clean stop, -errno when it could not
 * start (what failed is logged).
 */
int supervise(const struct options *options, struct configuration *configuration,
	      int configuration_fd);

/*
 * The same for a program that takes over from the block of handover.h (owned). It goes on with the
 * settings that were in force and reloads at once.
 */
int supervise_again(const struct options *options, int block_fd);

/*
 * --inetd: serves this one connection through a listener of its own, until it has ended. Both are
 * owned from now on. Returns 0, or -errno if it could not be served (logged).
 */
int supervise_single(struct configuration *configuration, int connection_fd);

#endif
