/* SPDX-License-Identifier: MIT */
/* The files of a configuration: opening, reading, and how they include each other. */
#ifndef ECHOD_CONFIGURATION_SOURCE_H
#define ECHOD_CONFIGURATION_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SOURCE_MAX_BYTES (1u << 20)

/* A file that was read, the first one or one that was included. */
struct source {
	char *name;			/* as in messages */
	size_t index;			/* counts from 0 in the order of reading */
	const struct source *parent;	/* the file that includes this one */
	dev_t device;
	ino_t inode;
};

/*
 * Opens a file for reading, non-blocking: neither opening nor reading waits for the writer of a
 * FIFO. Returns it or -errno.
 */
int source_open(const char *path);

/*
 * Reads fd into a new buffer that the caller frees, with a NUL behind the text and room for one
 * byte more. Returns the length, -EFBIG above SOURCE_MAX_BYTES, or -errno.
 */
ssize_t source_read(int fd, char **ret_text);

/*
 * The name of a file that from includes: relative to the folder of from. NULL without memory;
 * the caller frees it.
 */
char *source_name_included(const struct source *from, const char *name);

/* Fills in the identity of the file. True when one that includes it is the same. */
bool source_identify(struct source *source, int fd);

/* How many files stand around this one. */
unsigned source_depth(const struct source *source);

#endif
