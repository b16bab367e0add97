/* SPDX-License-Identifier: MIT */
/* The command line of echod(8). */
#ifndef ECHOD_COMMAND_LINE_OPTIONS_H
#define ECHOD_COMMAND_LINE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "echod/configuration/configuration.h"

enum options_mode {
	OPTIONS_RUN,
	OPTIONS_TEST,	/* -t: options_check(), then exit with what it returns */
	OPTIONS_PRINT,	/* -T: the same */
};

/* The texts are those of argv; the list belongs to options_release(). */
struct options {
	const char *configuration_path;	/* -c, or the default */
	char **listen;		/* -l, as often as given */
	size_t listen_count;
	int log_level;		/* -L, as in configuration; -1: not given */
	enum options_mode mode;
	bool inetd;		/* -i */
};

#define OPTIONS_EXIT_USAGE 2

/*
 * Parses the command line. Returns 0 and the options; 1 when --help or --version was asked for
 * and has been answered on standard output: options_finish(); -EINVAL after a one-line hint on
 * standard error: exit with OPTIONS_EXIT_USAGE; -ENOMEM.
 */
int options_parse(int argc, char **argv, struct options *ret_options);

/*
 * Loads the file that the options name, checks what they need of this host, and applies -l and -L.
 * held_fd: the file as it was opened before, or -1. It is read again if the path can no longer be
 * opened for lack of privileges, unless the file seems renamed or removed. (In a folder that only
 * root may enter, only the main file can be reloaded, not the included ones.) in_force: at a reload
 * the settings in force; then a pipe that has nothing to read yet is an error. NULL: a start, or a
 * test of one. Returns as configuration_load() does; *ret_fd (may be NULL), which the caller owns,
 * is the descriptor to hold from now on, or -1.
 */
int options_load(const struct options *options, int held_fd, const struct configuration *in_force,
		 configuration_report_fn report, void *context,
		 struct configuration **ret_configuration, int *ret_fd);

/*
 * Serves -t and -T: every error goes to standard error, then "FILE: OK" or the settings to
 * standard output. Returns the exit status: 0, EX_CONFIG (sysexits.h), or 1 when the output
 * could not be written.
 */
int options_check(const struct options *options);

/* Flushes standard output. Returns the exit status: 0, or 1 when that failed. */
int options_finish(void);

void options_release(struct options *options);

#endif
