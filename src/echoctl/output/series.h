/* SPDX-License-Identifier: MIT */
/* What a command measures while it runs, in rows of comma-separated values (RFC 4180). */
#ifndef ECHOCTL_OUTPUT_SERIES_H
#define ECHOCTL_OUTPUT_SERIES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "echoctl/output/report.h"

/* All rows begin with these: the time of day, seconds since start_ns, the target. */
#define SERIES_COLUMNS "time,elapsed_s,target,"

/* All zero: nothing is written. */
struct series {
	const char *path;		/* of --series; NULL: none is wanted */
	uint64_t start_ns;		/* CLOCK_MONOTONIC */
	const struct report *report;
	bool is_open;
	int fd;
	off_t end;			/* of the last whole row */
	bool incomplete;		/* a row could not be written */
};

/* Takes the value of --series. Returns NULL, or what is wrong with it. */
const char *series_take(const char *value, struct series *series);

/*
 * If a path was taken, makes the file, or empties it, and writes SERIES_COLUMNS and these columns.
 * Returns 0 or -errno after saying why.
 */
int series_open(struct series *series, const char *columns, const struct report *report);

/*
 * Writes one row about that time of CLOCK_MONOTONIC and that target, or nothing of it, which is
 * said the first time.
 */
void series_add(struct series *series, uint64_t time_ns, const char *target, const char *format,
		...) __attribute__((format(printf, 4, 5)));

/* Returns whether all rows are in the file. */
bool series_close(struct series *series);

#endif
