/* SPDX-License-Identifier: MIT */
/* The configuration file as it is now, also when privileges no longer reach it by its path. */
#ifndef ECHOD_COMMAND_LINE_EFFECTIVE_H
#define ECHOD_COMMAND_LINE_EFFECTIVE_H

#include "echod/command_line/options.h"
#include "echod/configuration/configuration.h"

/*
 * options_load_configuration() of the file that the options name. held_fd: the file as it was
 * opened before (or -1); it is read again when it is what stands at the path, or when the path
 * cannot be walked any more and the file was neither renamed nor removed (in a directory that only
 * root may enter only the main file can be reloaded, include()d ones cannot). Without may_wait a
 * pipe that has nothing to read is an error. Returns as configuration_load() does; *ret_fd (which
 * the caller owns) is the descriptor to hold from now on, -1 when there is none.
 */
int configuration_file_load(const struct options *options, int held_fd, bool may_wait,
			    configuration_report_fn report, void *context,
			    struct configuration **ret_configuration, int *ret_fd);

#endif
