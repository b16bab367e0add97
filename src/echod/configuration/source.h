/* SPDX-License-Identifier: MIT */
/* The files of a configuration: opening, reading, and how they include each other. */
#ifndef ECHOD_CONFIGURATION_SOURCE_H
#define ECHOD_CONFIGURATION_SOURCE_H

#include <stddef.h>
#include <sys/types.h>

/* A file that was read, the first one or one that was included. */
struct source {
	char *name;			/* as in messages */
	size_t index;			/* counts from 0 in the order of reading */
	const struct source *parent;	/* the file that includes this one */
	unsigned depth;			/* how many files stand around it */
	dev_t device;
	ino_t inode;
	char *text;			/* ready for libConfuse; NULL: it could not be read */
	unsigned fault_line;		/* of the first fault that libConfuse would not see, or 0 */
	char fault[48];			/* which one */
};

/*
 * Opens a file for reading, non-blocking: neither opening nor reading waits for the writer of a
 * FIFO. Returns it or -errno.
 */
int source_open(const char *path);

/*
 * A file that parent (NULL: none) includes by this name, relative to the folder of parent. Returns
 * NULL without memory; source_free() releases it.
 */
struct source *source_new(const struct source *parent, const char *name, size_t index);

/*
 * Reads fd into text, with its comments blanked. What is behind a fault is cut off, unless that is
 * a missing brace. Returns 0; -EALREADY if a file around it is the same; -EFBIG above 1 MiB;
 * -ENODATA for a pipe that gives nothing, since what wrote to it is gone; or -errno.
 */
int source_read(struct source *source, int fd);

void source_free(struct source *source);

#endif
