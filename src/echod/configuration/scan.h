/* SPDX-License-Identifier: MIT */
/*
 * A first reading of a configuration file, for what libConfuse 3.3 does not do: it stops at the
 * first error, counts the line of a comment twice, and leaves its scanner inside a string that
 * does not end.
 */
#ifndef ECHOD_CONFIGURATION_SCAN_H
#define ECHOD_CONFIGURATION_SCAN_H

#include <stddef.h>

#include "echod/configuration/problems.h"

/*
 * Notes every mistake in the grammar and every unknown key, and overwrites them and all comments
 * with spaces, so that what is left parses and lines keep their numbers. text holds no NUL and
 * has room for one byte behind length. Returns the new length.
 */
size_t scan_configuration(char *text, size_t length, const struct source *source,
			  struct problems *problems);

#endif
