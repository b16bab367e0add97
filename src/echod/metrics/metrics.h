/* SPDX-License-Identifier: MIT */
/* The daemon in numbers for monitoring. */
#ifndef ECHOD_METRICS_METRICS_H
#define ECHOD_METRICS_METRICS_H

#include "echod/state/state.h"

enum metrics_format {
	METRICS_OPENMETRICS,	/* OpenMetrics 1.0 */
	METRICS_PROMETHEUS,	/* the older text format 0.0.4, which node_exporter reads */
};

/* All metrics as text, "# EOF" at the end. The caller frees it; NULL: no memory. */
char *metrics_text(const struct supervisor *supervisor, enum metrics_format format);

/*
 * Replaces the file at path as a whole (rename(2)), in the format of node_exporter's textfile
 * collector. Returns 0 or -errno; on failure the old file stays.
 */
int metrics_write_file(const struct supervisor *supervisor, const char *path);

/*
 * Removes the file at path unless it is next, the path from now on: readers would take an old file
 * for the current state. Either may be NULL: none.
 */
void metrics_leave_file(const char *path, const char *next);

#endif
