/* SPDX-License-Identifier: MIT */
/*
 * The cheap fork: a worker inherits only chosen mappings, and everything it touches lies together.
 * If LEAN is 0 (dynamic listener, sanitizers, other processors) the same calls fork in the ordinary
 * way.
 */
#ifndef LISTENER_LEAN_H
#define LISTENER_LEAN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "worker/worker.h"

/* Maps the memory of workers. Returns 0 or -ENOMEM. Call it once, before anything else. */
int lean_open(void);

/*
 * Maps size bytes of fd, shared with all workers (protection of mmap(2)), beside the rest if
 * there is room. Returns NULL and sets errno if it cannot.
 */
void *lean_map_shared(int fd, size_t size, int protection);

/*
 * Call it before the first fork. Workers then inherit only the program's text and the memory of the
 * two functions above. If that is impossible, workers inherit everything and forks are slower.
 */
void lean_trim(void);

/*
 * Forks a process that calls call->entry; exit_signal tells its end. The kernel stores its
 * process id in *ret_pid before it runs. It has no copy of the call. Returns the id or
 * -errno.
 */
pid_t lean_fork(struct worker_call *call, int exit_signal, _Atomic int32_t *ret_pid);

#endif
