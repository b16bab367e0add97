/* SPDX-License-Identifier: MIT */
/* Two memory files shared with a listener and its workers. */
#include "echod/scoreboard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "wire/version.h"

static int region_create(const char *name, uint64_t bytes)
{
	FD_CLEANUP int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	return fd_steal(&fd);
}

int scoreboard_create(uint32_t slots, struct scoreboard *ret_scoreboard)
{
	FD_CLEANUP int table_fd = region_create("echod-table", scoreboard_table_bytes(slots));
	FD_CLEANUP int slots_fd = region_create("echod-slots", scoreboard_slots_bytes(slots));
	int result;

	if (table_fd < 0)
		return table_fd;
	if (slots_fd < 0)
		return slots_fd;
	result = scoreboard_adopt(table_fd, slots_fd, slots, ret_scoreboard);
	if (result < 0)
		return result;
	fd_steal(&table_fd);
	fd_steal(&slots_fd);
	ret_scoreboard->table->magic = TABLE_MAGIC;
	ret_scoreboard->table->version = WIRE_VERSION;
	ret_scoreboard->table->slots = slots;
	return 0;
}

int scoreboard_adopt(int table_fd, int slots_fd, uint32_t slots,
		     struct scoreboard *ret_scoreboard)
{
	struct scoreboard made = { .table_fd = table_fd, .slots_fd = slots_fd, .slots = slots };
	int result;

	made.closed_id = calloc(slots, sizeof(*made.closed_id));
	if (!made.closed_id)
		return -ENOMEM;
	made.table = mmap(NULL, scoreboard_table_bytes(slots), PROT_READ | PROT_WRITE, MAP_SHARED,
			  table_fd, 0);
	if (made.table == MAP_FAILED)
		goto fail_table;
	made.slot = mmap(NULL, scoreboard_slots_bytes(slots), PROT_READ | PROT_WRITE, MAP_SHARED,
			 slots_fd, 0);
	if (made.slot == MAP_FAILED)
		goto fail_slots;
	*ret_scoreboard = made;
	return 0;

fail_slots:
	result = -errno;
	munmap(made.table, scoreboard_table_bytes(slots));
	free(made.closed_id);
	return result;
fail_table:
	result = -errno;
	free(made.closed_id);
	return result;
}

void scoreboard_release(struct scoreboard *scoreboard)
{
	if (!scoreboard->table)
		return;
	munmap(scoreboard->table, scoreboard_table_bytes(scoreboard->slots));
	munmap(scoreboard->slot, scoreboard_slots_bytes(scoreboard->slots));
	free(scoreboard->closed_id);
	fd_close(scoreboard->table_fd);
	fd_close(scoreboard->slots_fd);
	*scoreboard = (struct scoreboard){ .table_fd = -1, .slots_fd = -1 };
}

unsigned scoreboard_drain(struct scoreboard *scoreboard, scoreboard_event_fn on_event,
			  void *context)
{
	struct table *table = scoreboard->table;
	uint64_t head = atomic_load_explicit(&table->ring_head, memory_order_acquire);
	uint64_t tail = atomic_load_explicit(&table->ring_tail, memory_order_relaxed);
	unsigned count = 0;

	if (head - tail > RING_EVENTS) {
		/* No honest listener writes this: take nothing from the ring. */
		atomic_store_explicit(&table->ring_tail, head, memory_order_release);
		return 0;
	}
	for (; tail != head; count++) {
		struct event event = table->ring[tail % RING_EVENTS];

		atomic_store_explicit(&table->ring_tail, ++tail, memory_order_release);
		if (event.type == EVENT_CLOSED && event.slot < scoreboard->slots)
			scoreboard->closed_id[event.slot] = event.id;
		on_event(context, &event);
	}
	return count;
}

bool scoreboard_sleep(struct scoreboard *scoreboard)
{
	struct table *table = scoreboard->table;

	atomic_store(&table->asleep, 1);
	if (atomic_load(&table->ring_head) == atomic_load(&table->ring_tail))
		return true;
	atomic_store(&table->asleep, 0);
	return false;
}

bool scoreboard_is_asleep(const struct scoreboard *scoreboard)
{
	return atomic_load_explicit(&scoreboard->table->asleep, memory_order_relaxed);
}

uint32_t scoreboard_live(const struct scoreboard *scoreboard)
{
	uint32_t live = atomic_load_explicit(&scoreboard->table->live, memory_order_relaxed);

	return live < scoreboard->slots ? live : scoreboard->slots;
}

int scoreboard_end_worker(struct scoreboard *scoreboard, uint32_t slot,
			  enum slot_command command, int signal)
{
	struct entry *entry = &scoreboard->table->entries[slot];
	uint64_t id = atomic_load(&entry->id);
	int32_t pid = atomic_load(&entry->pid);
	FD_CLEANUP int fd = -1;

	if (atomic_load(&entry->state) == ENTRY_FREE || pid <= 1)
		return -ESRCH;
	fd = pidfd_open(pid, 0);
	if (fd < 0)
		return -errno;
	if (atomic_load(&entry->state) == ENTRY_FREE || atomic_load(&entry->pid) != pid ||
	    atomic_load(&entry->id) != id)
		return -ESRCH;
	atomic_store(&scoreboard->slot[slot].command, command);
	return pidfd_send_signal(fd, signal, NULL, 0) < 0 ? -errno : 0;
}
