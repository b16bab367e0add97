/* SPDX-License-Identifier: MIT */
/* Writes to a shared descriptor without blocking, if possible. */
#ifndef ECHOCTL_OUTPUT_OUTPUT_H
#define ECHOCTL_OUTPUT_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct output {
	int fd;			/* -1: nothing is written */
	bool is_socket;
};

/*
 * Makes a descriptor of its own for fd. O_NONBLOCK belongs to the open file, which a shell shares
 * with us: a pipe or terminal is therefore opened again (proc(5), /proc/self/fd). fd -1: output
 * goes nowhere. Returns 0 or -errno.
 */
int output_open(int fd, struct output *ret_output);

/* Returns how many bytes it took, 0 when it would block, or -errno. */
ssize_t output_write(const struct output *output, const void *bytes, size_t size);

/* Returns 0 or the -errno of close(2), which may be the first to report a full disk. */
int output_close(struct output *output);

#endif
