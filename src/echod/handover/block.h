/* SPDX-License-Identifier: MIT */
/* The block that one echod hands to the next: values by name, then the lines that the log owes. */
#ifndef ECHOD_HANDOVER_BLOCK_H
#define ECHOD_HANDOVER_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "echod/state/state.h"

/* The descriptor of the block; taken out of the environment as soon as it is read. */
#define HANDOVER_VARIABLE "ECHOD_HANDOVER"

#define BLOCK_MAGIC 0x65636862u	/* "echb" */

/* This, and the record below, are the same in every version. */
struct block {
	uint32_t magic;
	uint32_t is_rehearsal;	/* 1: take all of this, then exit */
	uint32_t record_count;	/* they follow */
	uint32_t line_bytes;	/* of the lines after them, each with its NUL */
};

/* Whose values they are. A kind keeps its number. */
enum block_kind {
	BLOCK_SUPERVISOR,
	BLOCK_REST,
	BLOCK_SOCKET,
	BLOCK_GENERATION,	/* 0 is the newest */
	BLOCK_TALLY,		/* the retired one */
};

/*
 * A value of up to 8 bytes, as the field has it. A name keeps its meaning: then programs of all
 * versions find what they know, and a field that the other one does not have stays what it is.
 */
struct block_record {
	uint32_t kind;
	uint32_t index;		/* which one of its kind */
	uint32_t part;		/* of an array */
	uint32_t bytes;
	char name[28];		/* filled up with NUL */
	char value[8];
};

/* What goes over and is no field of struct supervisor. */
struct block_rest {
	uint32_t socket_count;
	uint32_t generation_count;
	int settings_fd;	/* the settings in force, as the text of a file */
	int control_fd;
	gid_t control_group;
	struct unix_file control_file;
	enum log_target log_target;
	uint64_t log_lost;
	uint64_t log_lost_unsaid;
	bool log_is_torn;
};

/* A block that was checked; nothing is owned. */
struct block_view {
	const struct block *head;
	const struct block_record *records;
	const char *lines;
};

/* Writes all fields of an object. Its descriptors are kept open over exec(3) from now on. */
void block_put(FILE *stream, enum block_kind kind, uint32_t index, const void *object);

/* Checks every count and size of a block. Returns 0 or -EBADMSG. */
int block_view(const void *bytes, size_t size, struct block_view *ret_view);

/*
 * Sets the fields of an object that there are values for. Then its descriptors are open, and the
 * object's, or -1.
 */
void block_get(const struct block_view *view, enum block_kind kind, uint32_t index, void *object);

#endif
