/* SPDX-License-Identifier: MIT */
/* From the descriptors that the supervisor passed to a listener that is ready to fork. */
#ifndef LISTENER_START_H
#define LISTENER_START_H

#include "listener/state.h"

/*
 * Takes over the descriptors of enum listener_fd: checks settings, table and slots and maps
 * them, prepares the sockets, enters the sandbox. Returns 0, or -errno and *ret_what, a static
 * phrase that says what failed. What was taken stays open either way: the process ends then.
 */
int start_listener(struct listener *listener, const char **ret_what);

#endif
