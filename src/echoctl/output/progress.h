/* SPDX-License-Identifier: MIT */
/* One line on a terminal that shows how far a long exchange has come. */
#ifndef ECHOCTL_OUTPUT_PROGRESS_H
#define ECHOCTL_OUTPUT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* How far it has come. */
struct progress_counts {
	uint64_t elapsed_ns;
	uint64_t bytes_sent;
	uint64_t bytes_received;
};

struct progress {
	uint64_t total_bytes;	/* 0: not known */
	bool shown;
};

/* For session_options.progress; context is a struct progress. */
void progress_show(void *context, const struct progress_counts *now);

/* Takes the line away, if one was shown. */
void progress_clear(struct progress *progress);

#define PROGRESS_TEXT_MAX 160
/* The line itself; returns text. */
const char *progress_format(const struct progress_counts *now, uint64_t total_bytes,
			    char text[PROGRESS_TEXT_MAX]);

/* "1.5 MiB", for people; returns text. */
#define PROGRESS_BYTES_MAX 24
const char *progress_format_bytes(double bytes, char text[PROGRESS_BYTES_MAX]);

#endif
