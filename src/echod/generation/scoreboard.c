/* SPDX-License-Identifier: MIT */
/* Three memory files shared with a listener and its workers. */
#include "echod/generation/scoreboard.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "wire/settings.h"

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
	FD_CLEANUP int commands_fd =
		region_create("echod-commands", scoreboard_commands_bytes(slots));
	int r;

	if (table_fd < 0)
		return table_fd;
	if (slots_fd < 0)
		return slots_fd;
	if (commands_fd < 0)
		return commands_fd;
	r = scoreboard_adopt(table_fd, slots_fd, commands_fd, false, ret_scoreboard);
	if (r < 0)
		return r;
	fd_steal(&table_fd);
	fd_steal(&slots_fd);
	fd_steal(&commands_fd);
	ret_scoreboard->table->magic = TABLE_MAGIC;
	ret_scoreboard->table->version = wire_version;
	ret_scoreboard->table->slots = slots;
	return 0;
}

static void *region_map(int fd, uint64_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static uint64_t table_bytes(const struct scoreboard *scoreboard)
{
	return scoreboard->slots ? scoreboard_table_bytes(scoreboard->slots) : TABLE_FRONT_BYTES;
}

static void regions_unmap(struct scoreboard *scoreboard)
{
	if (scoreboard->table)
		munmap(scoreboard->table, table_bytes(scoreboard));
	if (scoreboard->slot)
		munmap(scoreboard->slot, scoreboard_slots_bytes(scoreboard->slots));
	if (scoreboard->command)
		munmap(scoreboard->command, scoreboard_commands_bytes(scoreboard->words));
	free(scoreboard->closed_id);
	free(scoreboard->told_ns);
}

/* 0: it is no file. */
static uint64_t file_bytes(int fd)
{
	struct stat status;

	return fstat(fd, &status) < 0 ? 0 : (uint64_t)status.st_size;
}

/* Commands are the same in every version: their file says how many slots there are. */
static bool has_sizes(const struct scoreboard *scoreboard)
{
	uint64_t bytes = file_bytes(scoreboard->table_fd);

	if (!scoreboard->words || scoreboard->words > SETTINGS_MAX_CONNECTIONS)
		return false;
	if (!scoreboard->slots)
		return bytes >= TABLE_FRONT_BYTES;
	return bytes == scoreboard_table_bytes(scoreboard->slots) &&
	       file_bytes(scoreboard->slots_fd) == scoreboard_slots_bytes(scoreboard->slots);
}

int scoreboard_adopt(int table_fd, int slots_fd, int commands_fd, bool is_stranger,
		     struct scoreboard *ret_scoreboard)
{
	uint32_t words = (uint32_t)(file_bytes(commands_fd) / scoreboard_commands_bytes(1));
	uint32_t slots = is_stranger ? 0 : words;
	struct scoreboard made = {
		.table_fd = table_fd,
		.slots_fd = slots_fd,
		.commands_fd = commands_fd,
		.slots = slots,
		.words = words,
	};

	if (!has_sizes(&made))
		return -EBADF;
	made.table = region_map(table_fd, table_bytes(&made));
	made.slot = slots ? region_map(slots_fd, scoreboard_slots_bytes(slots)) : NULL;
	made.command = region_map(commands_fd, scoreboard_commands_bytes(words));
	made.closed_id = calloc(slots + 1, sizeof(*made.closed_id));
	made.told_ns = calloc(slots + 1, sizeof(*made.told_ns));
	if (!made.table || (slots && !made.slot) || !made.command || !made.closed_id ||
	    !made.told_ns) {
		regions_unmap(&made);
		return -ENOMEM;
	}
	*ret_scoreboard = made;
	return 0;
}

int scoreboard_open_commands(const struct scoreboard *scoreboard)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", scoreboard->commands_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void scoreboard_release(struct scoreboard *scoreboard)
{
	if (!scoreboard->table)
		return;
	regions_unmap(scoreboard);
	fd_close(scoreboard->table_fd);
	fd_close(scoreboard->slots_fd);
	fd_close(scoreboard->commands_fd);
	*scoreboard = SCOREBOARD_NONE;
}

/* Its worker is gone: the word must not meet one that gets the same process id some day. */
static void note_closed(struct scoreboard *scoreboard, const struct event *event)
{
	_Atomic uint64_t *command = &scoreboard->command[event->slot];

	scoreboard->closed_id[event->slot] = event->id;
	if (command_pid(atomic_load(command)) == event->pid)
		atomic_store(command, 0);
}

unsigned scoreboard_drain(struct scoreboard *scoreboard, scoreboard_event_fn on_event,
			  void *context)
{
	struct table *table = scoreboard->table;
	uint64_t head = atomic_load_explicit(&table->ring_head, memory_order_acquire);
	uint64_t tail = atomic_load_explicit(&table->ring_tail, memory_order_relaxed);
	unsigned count = 0;

	if (head - tail > RING_EVENTS || !scoreboard->slots) {
		/* No honest listener writes this, or one of another version: take nothing. */
		atomic_store_explicit(&table->ring_tail, head, memory_order_release);
		return 0;
	}
	for (; tail != head; count++) {
		struct event event = table->ring[tail % RING_EVENTS];

		atomic_store_explicit(&table->ring_tail, ++tail, memory_order_release);
		if (event.type == EVENT_CLOSED && event.slot < scoreboard->slots)
			note_closed(scoreboard, &event);
		on_event(context, &event);
	}
	return count;
}

uint64_t scoreboard_waiting(const struct scoreboard *scoreboard)
{
	const struct table *table = scoreboard->table;

	return atomic_load_explicit(&table->ring_head, memory_order_relaxed) -
	       atomic_load_explicit(&table->ring_tail, memory_order_relaxed);
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

uint32_t scoreboard_live(const struct scoreboard *scoreboard)
{
	uint32_t live = atomic_load_explicit(&scoreboard->table->live, memory_order_relaxed);

	return live < scoreboard->words ? live : scoreboard->words;
}

uint64_t scoreboard_peer(const struct scoreboard *scoreboard, uint32_t slot,
			 uint8_t ret_address[16])
{
	const struct entry *entry;
	uint64_t id;

	assert(slot < scoreboard->slots);
	entry = &scoreboard->table->entries[slot];
	id = atomic_load(&entry->id);
	if (atomic_load(&entry->state) != ENTRY_LIVE ||
	    !endpoint_address(&entry->peer, ret_address))
		return 0;
	/* The listener may have given the slot to another one while we read. */
	return atomic_load(&entry->id) == id ? id : 0;
}

/* A pidfd names one process for good. An old kernel or a filter around us may have none. */
static int send_signal(int pidfd, pid_t pid, int signal)
{
	int r = pidfd < 0 ? kill(pid, signal) : pidfd_send_signal(pidfd, signal, NULL, 0);

	return r < 0 ? -errno : 0;
}

int scoreboard_end_worker(struct scoreboard *scoreboard, uint32_t slot, uint64_t id,
			  enum slot_command command, int signal)
{
	struct entry *entry = &scoreboard->table->entries[slot];
	uint64_t found_id = atomic_load(&entry->id);
	int32_t pid = atomic_load(&entry->pid);
	FD_CLEANUP int fd = -1;

	if (atomic_load(&entry->state) == ENTRY_FREE || pid <= 1 || (id && id != found_id))
		return -ESRCH;
	fd = pidfd_open(pid, 0);
	if (fd < 0 && errno != ENOSYS && errno != EPERM)
		return -errno;
	/* The entry is looked at again: its worker may have ended, and another have its number. */
	if (atomic_load(&entry->state) == ENTRY_FREE || atomic_load(&entry->pid) != pid ||
	    atomic_load(&entry->id) != found_id)
		return -ESRCH;
	atomic_store(&scoreboard->command[slot], command_make(pid, command));
	return send_signal(fd, pid, signal);
}
