/* SPDX-License-Identifier: MIT */
/* Which fields go over, and how each becomes a record and a field again. */
#include "echod/handover/block.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

struct field {
	const char *name;
	size_t offset;
	size_t bytes;
	bool is_fd;
};

#define FIELD(type, member) \
	{ #member, offsetof(struct type, member), sizeof(((struct type *)0)->member), false }
#define FD(type, member) { #member, offsetof(struct type, member), sizeof(int), true }

static const struct field supervisor_fields[] = {
	FD(supervisor, configuration_fd),
	FD(supervisor, listener.fd),
	FIELD(supervisor, sockets.passed),
	FIELD(supervisor, generation_count),
	FIELD(supervisor, listener_restarts),
	FIELD(supervisor, events_dropped),
	FIELD(supervisor, report.suppressed),
	FIELD(supervisor, started_ns),
	FIELD(supervisor, started_realtime_us),
	FIELD(supervisor, reloaded_realtime_us),
	{ 0 }
};

static const struct field rest_fields[] = {
	FIELD(block_rest, socket_count),
	FIELD(block_rest, generation_count),
	FD(block_rest, settings_fd),
	FD(block_rest, control_fd),
	FIELD(block_rest, control_group),
	FIELD(block_rest, control_file.device),
	FIELD(block_rest, control_file.inode),
	FIELD(block_rest, log_target),
	FIELD(block_rest, log_lost),
	FIELD(block_rest, log_lost_unsaid),
	FIELD(block_rest, log_is_torn),
	{ 0 }
};

static const struct field socket_fields[] = {
	FD(listening_socket, fd),
	FIELD(listening_socket, is_any_port),
	FIELD(listening_socket, file.device),
	FIELD(listening_socket, file.inode),
	{ 0 }
};

static const struct field generation_fields[] = {
	FIELD(generation, wire_version),
	FIELD(generation, number),
	FIELD(generation, state),
	FIELD(generation, stopped),
	FIELD(generation, listener_pid),
	FIELD(generation, group),
	FD(generation, channel_fd),
	FD(generation, scoreboard.table_fd),
	FD(generation, scoreboard.slots_fd),
	FD(generation, scoreboard.commands_fd),
	FIELD(generation, orphans.live),
	FIELD(generation, started_ns),
	FIELD(generation, ready_ns),
	{ 0 }
};

static const struct field *const fields_of[] = {
	[BLOCK_SUPERVISOR] = supervisor_fields,
	[BLOCK_REST] = rest_fields,
	[BLOCK_SOCKET] = socket_fields,
	[BLOCK_GENERATION] = generation_fields,
};

static void put(FILE *stream, enum block_kind kind, uint32_t index, const char *name,
		const void *value, size_t bytes)
{
	struct block_record record = { .kind = kind, .index = index, .bytes = (uint32_t)bytes };

	assert(strlen(name) < sizeof(record.name) && bytes <= sizeof(record.value));
	strcpy(record.name, name);
	memcpy(record.value, value, bytes);
	fwrite(&record, sizeof(record), 1, stream);
}

void block_put(FILE *stream, enum block_kind kind, uint32_t index, const void *object)
{
	for (const struct field *i = fields_of[kind]; i->name; i++) {
		const void *value = (const char *)object + i->offset;

		put(stream, kind, index, i->name, value, i->bytes);
		if (i->is_fd && *(const int *)value >= 0)
			fd_set_cloexec(*(const int *)value, false);
	}
}

void block_put_tally(FILE *stream, struct tally *tally)
{
	for (size_t i = 0; i < tally_field_count; i++)
		for (uint32_t k = 0; k < tally_fields[i].count; k++)
			put(stream, BLOCK_COUNTER, k, tally_fields[i].name,
			    &tally_counters(tally, &tally_fields[i])[k], sizeof(uint64_t));
}

int block_view(const void *bytes, size_t size, struct block_view *ret_view)
{
	const struct block *head = bytes;
	uint64_t records, whole;

	if (size < sizeof(*head) || head->magic != BLOCK_MAGIC)
		return -EBADMSG;
	records = head->record_count * (uint64_t)sizeof(struct block_record);
	whole = sizeof(*head) + records + head->line_bytes;
	if (size != whole || (head->line_bytes && ((const char *)bytes)[size - 1]))
		return -EBADMSG;
	*ret_view = (struct block_view){
		.head = head,
		.records = (const void *)(head + 1),
		.lines = (const char *)(head + 1) + records,
	};
	return 0;
}

/* The value that was put under this name, NULL if there is none of this size. */
static const void *find(const struct block_view *view, enum block_kind kind, uint32_t index,
			const char *name, size_t bytes)
{
	for (uint32_t i = 0; i < view->head->record_count; i++) {
		const struct block_record *record = &view->records[i];

		if (record->kind == kind && record->index == index && record->bytes == bytes &&
		    !strncmp(record->name, name, sizeof(record->name)))
			return record->value;
	}
	return NULL;
}

static bool is_open(int fd)
{
	return fd > STDERR_FILENO && fcntl(fd, F_GETFD) >= 0;
}

void block_get(const struct block_view *view, enum block_kind kind, uint32_t index, void *object)
{
	for (const struct field *i = fields_of[kind]; i->name; i++) {
		const void *value = find(view, kind, index, i->name, i->bytes);
		char *field = (char *)object + i->offset;

		if (value)
			memcpy(field, value, i->bytes);
		if (i->is_fd && !is_open(*(int *)field))
			*(int *)field = -1;
	}
}

void block_get_tally(const struct block_view *view, struct tally *tally)
{
	for (size_t i = 0; i < tally_field_count; i++)
		for (uint32_t k = 0; k < tally_fields[i].count; k++) {
			const void *value = find(view, BLOCK_COUNTER, k, tally_fields[i].name,
						 sizeof(uint64_t));

			if (value)
				memcpy(&tally_counters(tally, &tally_fields[i])[k], value,
				       sizeof(uint64_t));
		}
}
