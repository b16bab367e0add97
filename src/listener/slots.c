/* SPDX-License-Identifier: MIT */
/* Free slots as a stack, process ids as an open hash that deletes by shifting back. */
#include "listener/slots.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

#include "listener/memory.h"

static uint32_t slots_home(const struct slots *slots, int32_t pid)
{
	return ((uint32_t)pid * 2654435769u >> 7) & slots->mask;
}

int slots_init(struct slots *slots, uint32_t count)
{
	uint32_t cells = 16;

	assert(count > 0);
	while (cells < 2 * count)
		cells *= 2;
	slots->count = slots->free_count = count;
	slots->mask = cells - 1;
	slots->free = memory_get(count * sizeof(*slots->free));
	slots->pids = memory_get(cells * sizeof(*slots->pids));
	if (!slots->free || !slots->pids) {
		slots_release(slots);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < count; i++)
		slots->free[i] = count - 1 - i;
	return 0;
}

void slots_release(struct slots *slots)
{
	memory_put(slots->free, slots->count * sizeof(*slots->free));
	memory_put(slots->pids, (slots->mask + (size_t)1) * sizeof(*slots->pids));
	slots->free = NULL;
	slots->pids = NULL;
}

uint32_t slots_take(struct slots *slots)
{
	return slots->free_count > 0 ? slots->free[--slots->free_count] : SLOTS_NONE;
}

void slots_give(struct slots *slots, uint32_t slot)
{
	assert(slot < slots->count && slots->free_count < slots->count);
	slots->free[slots->free_count++] = slot;
}

void slots_bind(struct slots *slots, int32_t pid, uint32_t slot)
{
	uint32_t cell = slots_home(slots, pid);

	assert(pid > 0 && slot < slots->count);
	while (slots->pids[cell].pid != 0)
		cell = (cell + 1) & slots->mask;
	slots->pids[cell].pid = pid;
	slots->pids[cell].slot = slot;
}

/* Moves back whatever can no longer be reached across the empty cell. */
static void slots_close_gap(struct slots *slots, uint32_t gap)
{
	uint32_t cell = gap;

	for (;;) {
		uint32_t home;

		cell = (cell + 1) & slots->mask;
		if (slots->pids[cell].pid == 0)
			break;
		home = slots_home(slots, slots->pids[cell].pid);
		if (((cell - home) & slots->mask) >= ((cell - gap) & slots->mask)) {
			slots->pids[gap] = slots->pids[cell];
			gap = cell;
		}
	}
	slots->pids[gap].pid = 0;
}

uint32_t slots_unbind(struct slots *slots, int32_t pid)
{
	uint32_t cell = slots_home(slots, pid);
	uint32_t slot;

	if (pid <= 0)
		return SLOTS_NONE;
	while (slots->pids[cell].pid != pid) {
		if (slots->pids[cell].pid == 0)
			return SLOTS_NONE;
		cell = (cell + 1) & slots->mask;
	}
	slot = slots->pids[cell].slot;
	slots_close_gap(slots, cell);
	return slot;
}
