/* SPDX-License-Identifier: MIT */
/* The listener's own tables: memory that no worker inherits and no fork copies. */
#ifndef LISTENER_MEMORY_H
#define LISTENER_MEMORY_H

#include <stddef.h>
#include <sys/mman.h>

/* Zeroed memory for the life of the process; NULL when there is none. */
static inline void *memory_get(size_t size)
{
	void *memory =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	(void)madvise(memory, size, MADV_DONTFORK);
	return memory;
}

/* memory may be NULL. */
static inline void memory_put(void *memory, size_t size)
{
	if (memory)
		(void)munmap(memory, size);
}

#endif
