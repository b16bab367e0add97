/* SPDX-License-Identifier: MIT */
/* The seccomp filters of listener and workers, compiled to BPF by libseccomp. */
#ifndef ECHOD_GENERATION_FILTER_H
#define ECHOD_GENERATION_FILTER_H

#include <linux/filter.h>
#include <stddef.h>

enum filter_kind {
	FILTER_LISTENER,	/* the listener and what its workers inherit */
	FILTER_WORKER,		/* sandbox = "strict": what a worker narrows itself to */
};

struct filter {
	struct sock_filter *instructions;	/* owned */
	size_t count;
};

/* Compiles one; what it does not list kills the process. Returns 0 or -errno. */
int filter_compile(enum filter_kind kind, struct filter *ret_filter);

void filter_release(struct filter *filter);

#endif
