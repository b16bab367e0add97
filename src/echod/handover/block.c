/* SPDX-License-Identifier: MIT */
/* Which fields go over, and how each becomes a record and a field again. */
#include "echod/handover/block.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

struct field {
	const char *name;
	size_t offset;
	size_t bytes;
	uint32_t count;		/* of an array */
	bool is_fd;
};

#define FIELD(type, member) \
	{ #member, offsetof(struct type, member), sizeof(((struct type *)0)->member), 1, false }
#define FD(type, member) { #member, offsetof(struct type, member), sizeof(int), 1, true }
#define COUNTER(member) FIELD(tally, member),
#define COUNTERS(member, count) \
	{ #member, offsetof(struct tally, member), sizeof(uint64_t), count, false },

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
	{ 0 }
};

static const struct field tally_fields[] = {
	TALLY_FIELDS(COUNTER, COUNTERS)
	{ 0 }
};

static const struct field *const fields_of[] = {
	[BLOCK_SUPERVISOR] = supervisor_fields,
	[BLOCK_REST] = rest_fields,
	[BLOCK_SOCKET] = socket_fields,
	[BLOCK_GENERATION] = generation_fields,
	[BLOCK_TALLY] = tally_fields,
};

static struct block_record record_of(enum block_kind kind, uint32_t index,
				     const struct field *field)
{
	struct block_record record = { kind, index, 0, (uint32_t)field->bytes, "", "" };

	assert(strlen(field->name) < sizeof(record.name) && field->bytes <= sizeof(record.value));
	strcpy(record.name, field->name);
	return record;
}

void block_put(FILE *stream, enum block_kind kind, uint32_t index, const void *object)
{
	for (const struct field *i = fields_of[kind]; i->name; i++) {
		const char *value = (const char *)object + i->offset;
		struct block_record record = record_of(kind, index, i);

		for (; record.part < i->count; record.part++) {
			memcpy(record.value, value + record.part * i->bytes, i->bytes);
			fwrite(&record, sizeof(record), 1, stream);
		}
		if (i->is_fd && *(const int *)value >= 0)
			fd_set_cloexec(*(const int *)value, false);
	}
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

/* Copies the value of the record that is wanted, if there is one of this size. */
static void copy_value(const struct block_view *view, const struct block_record *wanted,
		       char *value)
{
	for (uint32_t i = 0; i < view->head->record_count; i++)
		if (!memcmp(&view->records[i], wanted, offsetof(struct block_record, value)))
			memcpy(value, view->records[i].value, wanted->bytes);
}

void block_get(const struct block_view *view, enum block_kind kind, uint32_t index, void *object)
{
	for (const struct field *i = fields_of[kind]; i->name; i++) {
		char *value = (char *)object + i->offset;
		struct block_record wanted = record_of(kind, index, i);

		for (; wanted.part < i->count; wanted.part++)
			copy_value(view, &wanted, value + wanted.part * i->bytes);
		if (i->is_fd && (*(int *)value <= STDERR_FILENO ||
				 fd_set_cloexec(*(int *)value, true) < 0))
			*(int *)value = -1;
	}
}
