/* SPDX-License-Identifier: MIT */
/* What is wrong with a configuration: collected, each once, and told in the order of the files. */
#ifndef ECHOD_CONFIGURATION_PROBLEMS_H
#define ECHOD_CONFIGURATION_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>

#include "echod/configuration/configuration.h"
#include "echod/configuration/source.h"

struct problems {
	struct problem *items;
	size_t count;
	size_t left_out;	/* above the most that are told */
	bool out_of_memory;
};

/*
 * Notes "FILE:LINE: KEY: ...", where section (may be NULL) comes before the key: "limits.idle".
 * line 0: "FILE: ...". key NULL: none. A failed allocation sets out_of_memory.
 */
void problems_add(struct problems *problems, const struct source *source, unsigned line,
		  const char *section, const char *key, const char *format, ...)
	__attribute__((format(printf, 6, 7)));

/* Reports all of them, file by file and line by line. */
void problems_tell(struct problems *problems, configuration_report_fn report, void *context);

void problems_release(struct problems *problems);

#endif
