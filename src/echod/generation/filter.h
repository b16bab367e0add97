/* SPDX-License-Identifier: MIT */
/* The seccomp filters of listener and workers, compiled to BPF by libseccomp. */
#ifndef ECHOD_GENERATION_FILTER_H
#define ECHOD_GENERATION_FILTER_H

#include <linux/filter.h>
#include <stddef.h>

#include "wire/settings.h"

enum filter_kind {
	FILTER_WORKER = 1,		/* what a worker installs itself */
	FILTER_LISTENER = 2,		/* the listener and workers that inherit its filter */
	FILTER_LISTENER_STRICT = 4,	/* the listener whose workers install their own */
	FILTER_LISTENER_DATAGRAM = 8,	/* beside one of these: it has a datagram process */
	FILTER_DATAGRAM = 16,		/* what that process installs itself */
};

/* The filters of a settings block, in its order. */
enum filter_place { FILTER_OF_LISTENER, FILTER_OF_WORKER, FILTER_OF_DATAGRAM, FILTER_PLACES };

struct filter {
	size_t count;
	struct sock_filter instructions[SETTINGS_MAX_FILTER];
};

#define FILTER_MISSING "no system call filter, going on without"	/* in the log */

/*
 * Compiles one that allows what any of kinds (bits) allows and kills the process that makes another
 * call. Returns 0 or -errno.
 */
int filter_compile(unsigned int kinds, struct filter *ret_filter);

#endif
