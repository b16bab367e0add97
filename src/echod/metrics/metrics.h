/* SPDX-License-Identifier: MIT */
/* The daemon in numbers for monitoring: OpenMetrics text. */
#ifndef ECHOD_METRICS_METRICS_H
#define ECHOD_METRICS_METRICS_H

#include <stdio.h>

#include "echod/state/state.h"

/*
 * Writes all metrics in the OpenMetrics 1.0 text format, "# EOF" at the end. Only types that
 * the older Prometheus text format knows too are used, so that node_exporter can read it.
 */
void metrics_write(const struct supervisor *supervisor, FILE *stream);

/*
 * Puts the same in place of the configured file, whole (rename(2)). Returns 0 or -errno; the
 * old file stands then.
 */
int metrics_write_file(const struct supervisor *supervisor, const char *path);

/*
 * Removes the file at path unless it is next, where they are written from now on. What nobody
 * writes any more would be read as the state of today. Either may be NULL: nowhere.
 */
void metrics_leave_file(const char *path, const char *next);

#endif
