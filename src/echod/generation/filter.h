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
};

struct filter {
	size_t count;
	struct sock_filter instructions[SETTINGS_MAX_FILTER];
};

#define FILTER_MISSING "no system call filter, going on without"	/* in the log */

/* Compiles one; what it does not list kills the process. Returns 0 or -errno. */
int filter_compile(enum filter_kind kind, struct filter *ret_filter);

#endif
