/* SPDX-License-Identifier: MIT */
/* The settings that echod works with: what the file says, changed by the options. */
#ifndef ECHOD_COMMAND_LINE_EFFECTIVE_H
#define ECHOD_COMMAND_LINE_EFFECTIVE_H

#include "echod/command_line/options.h"
#include "echod/configuration/configuration.h"

/*
 * Loads the file that the options name, with what they need of this host, and applies -l and -L.
 * held_fd: the file as it was opened before, or -1. It is read again if the path can no longer be
 * opened for want of privileges, and the file was neither renamed nor removed as far as that can be
 * told. (In a directory that only root may enter only the main file can be reloaded, include()d
 * ones cannot.) in_force: at a reload the settings until now; then a pipe that has nothing to read
 * yet is an error. NULL: a start, or a test of one. Returns as configuration_load() does; *ret_fd
 * (may be NULL), which the caller owns, is the descriptor to hold from now on, or -1.
 */
int effective_load(const struct options *options, int held_fd,
		   const struct configuration *in_force, configuration_report_fn report,
		   void *context, struct configuration **ret_configuration, int *ret_fd);

#endif
