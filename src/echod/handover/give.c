/* SPDX-License-Identifier: MIT */
/* What struct supervisor holds, written into memory. */
#include "echod/handover/give.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "echod/control/control.h"
#include "echod/handover/block.h"
#include "echod/log/log.h"

/* A memory file with what was written to a stream, which is closed. bytes is freed. */
static int seal(const char *name, FILE *stream, char **bytes, size_t *size)
{
	int fd = fclose(stream) == 0 ? fd_sealed_memory(name, *bytes, *size) : -errno;

	free(*bytes);
	if (fd >= 0)
		fd_set_cloexec(fd, false);
	return fd;
}

int give_settings(const struct configuration *configuration)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);

	if (!stream)
		return -errno;
	configuration_print(configuration, stream);
	return seal("echod-settings", stream, &text, &size);
}

static void put_all(FILE *stream, const struct supervisor *supervisor, struct block_rest *rest)
{
	struct tally retired = supervisor->retired;

	for (size_t i = 0; i < supervisor->sockets.count; i++)
		block_put(stream, BLOCK_SOCKET, rest->socket_count++,
			  &supervisor->sockets.items[i]);
	for (const struct generation *i = supervisor->generations; i; i = i->next) {
		block_put(stream, BLOCK_GENERATION, rest->generation_count++, i);
		/* Only their sum is asked for. */
		tally_add(&retired, &i->adopted);
	}
	block_put_tally(stream, &retired);
	block_put(stream, BLOCK_SUPERVISOR, 0, supervisor);
	block_put(stream, BLOCK_REST, 0, rest);
}

int give_block(const struct supervisor *supervisor, int settings_fd, bool is_rehearsal)
{
	struct block head = { .magic = BLOCK_MAGIC, .is_rehearsal = is_rehearsal };
	struct log_state log;
	struct block_rest rest;
	char *bytes = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&bytes, &size);

	if (!stream)
		return -errno;
	log_save(&log);
	rest = (struct block_rest){
		.settings_fd = settings_fd,
		.control_fd = control_fd(supervisor->control),
		.control_group = control_group(supervisor->control),
		.control_file = control_file(supervisor->control),
		.log_target = log.target,
		.log_lost = log.lost,
		.log_lost_unsaid = log.lost_unsaid,
		.log_is_torn = log.is_torn,
	};
	fwrite(&head, sizeof(head), 1, stream);
	put_all(stream, supervisor, &rest);
	head.record_count = (uint32_t)((size_t)ftell(stream) / sizeof(struct block_record));
	head.line_bytes = (uint32_t)log.size;
	fwrite(log.lines, 1, log.size, stream);
	if (fflush(stream) == 0)
		memcpy(bytes, &head, sizeof(head));
	return seal("echod-handover", stream, &bytes, &size);
}
