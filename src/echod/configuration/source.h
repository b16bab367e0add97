/* SPDX-License-Identifier: MIT */
/* The text of a configuration file. */
#ifndef ECHOD_CONFIGURATION_SOURCE_H
#define ECHOD_CONFIGURATION_SOURCE_H

#define SOURCE_MAX_BYTES (1 << 20)

struct source {
	char *text;			/* ready for libConfuse; the caller frees it */
	unsigned fault_line;		/* of the first fault that libConfuse misses, or 0 */
	char fault[48];			/* which one */
};

/*
 * Opens a file for reading, non-blocking: neither opening nor reading waits for the writer of a
 * FIFO. Returns it or -errno.
 */
int source_open(const char *path);

/*
 * Reads fd into text and blanks comments. Cuts off the text behind a fault, unless that is a
 * missing brace. Returns 0; -EFBIG above SOURCE_MAX_BYTES; -ENODATA for a pipe that gives nothing,
 * because its writer is gone; or -errno.
 */
int source_read(int fd, struct source *ret_source);

#endif
