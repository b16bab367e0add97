/* SPDX-License-Identifier: MIT */
/*
 * The cheap fork: what a worker inherits is chosen, and everything it touches lies together.
 * Where LEAN is 0 (dynamic listener, sanitizers, other processors) the same calls do the plain
 * thing.
 */
#ifndef LISTENER_LEAN_H
#define LISTENER_LEAN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "worker/worker.h"

/* Where workers will live. */
struct lean {
	uintptr_t window;	/* the aligned 2 MiB that one page table covers; 0: none */
	uintptr_t next;		/* in the window: not yet tried */
	uint8_t *small;		/* each worker's small buffer, never touched by the listener */
	uint8_t *stack_top;
};

/* Takes the memory of workers. Returns 0 or -ENOMEM. To be called once, first of all. */
int lean_open(struct lean *ret_lean);

/*
 * Maps size bytes of fd, shared with all workers (protection of mmap(2)), beside the rest when
 * there is room. Returns NULL and sets errno when it cannot.
 */
void *lean_map_shared(struct lean *lean, int fd, size_t size, int protection);

/*
 * Before the first fork: lets workers inherit nothing but the program's text and what the two
 * functions above have made. Returns 0, or -errno: then workers inherit everything and the
 * listener works on, only slower.
 */
int lean_trim(const struct lean *lean);

/*
 * Forks a worker that calls worker_run(); exit_signal tells its end. The kernel stores its
 * process id in *ret_pid before it runs. The worker has no copy of the call. Returns the id or
 * -errno.
 */
pid_t lean_fork(const struct lean *lean, struct worker_call *call, int exit_signal,
		_Atomic int32_t *ret_pid);

#endif
