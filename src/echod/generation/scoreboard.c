/* SPDX-License-Identifier: MIT */
/* Three memory files shared with a listener and its workers. */
#include "echod/generation/scoreboard.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "wire/settings.h"

/* Makes a memory file, in *ret_fd. Returns 0 or -errno. */
static int region_create(const char *name, uint64_t bytes, int *ret_fd)
{
	FD_CLEANUP int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	*ret_fd = fd_steal(&fd);
	return 0;
}

int scoreboard_create(struct scoreboard *scoreboard, uint32_t slots)
{
	int r = region_create("echod-table", scoreboard_table_file_bytes(slots),
			      &scoreboard->table_fd);

	if (r == 0)
		r = region_create("echod-slots", scoreboard_slots_bytes(slots),
				  &scoreboard->slots_fd);
	if (r == 0)
		r = region_create("echod-commands", scoreboard_commands_bytes(slots),
				  &scoreboard->commands_fd);
	if (r == 0)
		r = scoreboard_map(scoreboard, false);
	if (r < 0)
		return r;
	scoreboard->table->magic = TABLE_MAGIC;
	scoreboard->table->version = wire_version;
	scoreboard->table->slots = slots;
	scoreboard->table->datagrams_at = (uint32_t)scoreboard_datagrams_offset(slots);
	return 0;
}

static void *region_map(int fd, uint64_t offset, uint64_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

	return memory == MAP_FAILED ? NULL : memory;
}

static uint64_t table_bytes(const struct scoreboard *scoreboard)
{
	return scoreboard->slots ? scoreboard_table_bytes(scoreboard->slots) : TABLE_FRONT_BYTES;
}

/* Commands are the same in every version: the size of their file tells the number of slots. */
static bool has_sizes(const struct scoreboard *scoreboard)
{
	uint64_t bytes = fd_file_bytes(scoreboard->table_fd);

	if (!scoreboard->words || scoreboard->words > SETTINGS_MAX_CONNECTIONS)
		return false;
	if (!scoreboard->slots)
		return bytes >= TABLE_FRONT_BYTES;
	return bytes == scoreboard_table_file_bytes(scoreboard->slots) &&
	       fd_file_bytes(scoreboard->slots_fd) == scoreboard_slots_bytes(scoreboard->slots);
}

/* NULL if the listener of a stranger has left no place for them, or a wrong one. */
static struct datagrams *map_datagrams(const struct scoreboard *scoreboard)
{
	const uint64_t size = sizeof(*scoreboard->datagrams);
	uint64_t offset = scoreboard->slots ? scoreboard_datagrams_offset(scoreboard->slots) :
					      scoreboard->table->datagrams_at;

	if (offset < TABLE_FRONT_BYTES || offset + size > fd_file_bytes(scoreboard->table_fd))
		return NULL;
	return region_map(scoreboard->table_fd, offset, size);
}

int scoreboard_map(struct scoreboard *scoreboard, bool is_stranger)
{
	uint64_t bytes = fd_file_bytes(scoreboard->commands_fd);

	assert(!scoreboard->table);
	scoreboard->words = (uint32_t)(bytes / scoreboard_commands_bytes(1));
	scoreboard->slots = is_stranger ? 0 : scoreboard->words;
	if (!has_sizes(scoreboard))
		return -EBADF;
	scoreboard->table = region_map(scoreboard->table_fd, 0, table_bytes(scoreboard));
	scoreboard->command = region_map(scoreboard->commands_fd, 0,
					 scoreboard_commands_bytes(scoreboard->words));
	if (!scoreboard->table || !scoreboard->command)
		return -ENOMEM;
	scoreboard->datagrams = map_datagrams(scoreboard);
	if (is_stranger)
		return 0;
	scoreboard->slot = region_map(scoreboard->slots_fd, 0,
				      scoreboard_slots_bytes(scoreboard->slots));
	scoreboard->notes = calloc(scoreboard->slots, sizeof(*scoreboard->notes));
	return scoreboard->datagrams && scoreboard->slot && scoreboard->notes ? 0 : -ENOMEM;
}

void scoreboard_release(struct scoreboard *scoreboard)
{
	if (scoreboard->table)
		munmap(scoreboard->table, table_bytes(scoreboard));
	if (scoreboard->datagrams)
		munmap(scoreboard->datagrams, sizeof(*scoreboard->datagrams));
	if (scoreboard->slot)
		munmap(scoreboard->slot, scoreboard_slots_bytes(scoreboard->slots));
	if (scoreboard->command)
		munmap(scoreboard->command, scoreboard_commands_bytes(scoreboard->words));
	free(scoreboard->notes);
	fd_close(scoreboard->table_fd);
	fd_close(scoreboard->slots_fd);
	fd_close(scoreboard->commands_fd);
	*scoreboard = SCOREBOARD_NONE;
}

/*
 * The worker is gone: clears its command, so that no later worker with the same process id obeys
 * it.
 */
static void note_closed(struct scoreboard *scoreboard, const struct event *event)
{
	_Atomic uint64_t *command = &scoreboard->command[event->slot];

	scoreboard->notes[event->slot].closed_id = event->id;
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
		/* No honest listener of our version writes this: takes nothing. */
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

/* A counter that runs backwards is a rate of zero. */
static uint64_t rate(uint64_t now, uint64_t before, uint64_t elapsed_ns)
{
	double a_second;

	if (now <= before || !elapsed_ns)
		return 0;
	/* Rounded, because the time is never exactly a second. */
	a_second = (double)(now - before) * CLOCK_NS_PER_S / (double)elapsed_ns + 0.5;
	return a_second < (double)SLOT_BYTES_MAX ? (uint64_t)a_second : SLOT_BYTES_MAX;
}

/* The worker writes its slot, so no value in it is trusted. */
static void note(struct slot_note *note, const struct entry *entry, const struct slot *slot,
		 uint64_t now_ns, uint64_t elapsed_ns)
{
	uint64_t id = atomic_load(&entry->id);
	uint64_t bytes_in = slot_bytes(&slot->bytes_in);
	uint64_t bytes_out = slot_bytes(&slot->bytes_out);

	if (note->id != id) {
		note->id = id;
		note->bytes_in = note->bytes_out = 0;
		note->moved_ns = atomic_load(&entry->start_ns);
		elapsed_ns = now_ns > note->moved_ns ? now_ns - note->moved_ns : 0;
	}
	if (note->bytes_in != bytes_in || note->bytes_out != bytes_out)
		note->moved_ns = now_ns;
	note->rate_in = rate(bytes_in, note->bytes_in, elapsed_ns);
	note->rate_out = rate(bytes_out, note->bytes_out, elapsed_ns);
	note->bytes_in = bytes_in;
	note->bytes_out = bytes_out;
}

void scoreboard_note(struct scoreboard *scoreboard, uint32_t live, uint64_t now_ns)
{
	assert(now_ns >= scoreboard->noted_ns);
	for (uint32_t slot = 0; slot < scoreboard->slots && live; slot++) {
		const struct entry *entry = &scoreboard->table->entries[slot];

		if (atomic_load(&entry->state) != ENTRY_LIVE)
			continue;
		live--;
		note(&scoreboard->notes[slot], entry, &scoreboard->slot[slot], now_ns,
		     now_ns - scoreboard->noted_ns);
	}
	scoreboard->noted_ns = now_ns;
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

/* A pidfd always means the same process. An old kernel or a foreign filter may not allow it. */
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

	assert(slot < scoreboard->slots);
	if (atomic_load(&entry->state) == ENTRY_FREE || pid <= 1 || (id && id != found_id))
		return -ESRCH;
	fd = pidfd_open(pid, 0);
	if (fd < 0 && errno != ENOSYS && errno != EPERM)
		return -errno;
	/*
	 * Looks at the entry again: its worker may have ended, and another process may have its
	 * number.
	 */
	if (atomic_load(&entry->state) == ENTRY_FREE || atomic_load(&entry->pid) != pid ||
	    atomic_load(&entry->id) != found_id)
		return -ESRCH;
	atomic_store(&scoreboard->command[slot], command_make(pid, command));
	return send_signal(fd, pid, signal);
}
