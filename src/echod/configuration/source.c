/* SPDX-License-Identifier: MIT */
/* The files of a configuration: opening, reading, and how they include each other. */
#include "echod/configuration/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"

int source_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

ssize_t source_read(int fd, char **ret_text)
{
	char *text = malloc(SOURCE_MAX_BYTES + 2);
	ssize_t n;

	if (!text)
		return -ENOMEM;
	n = io_read_full(fd, text, SOURCE_MAX_BYTES + 1);
	if (n < 0 || n > (ssize_t)SOURCE_MAX_BYTES) {
		free(text);
		return n < 0 ? n : -EFBIG;
	}
	text[n] = '\0';
	*ret_text = text;
	return n;
}

char *source_name_included(const struct source *from, const char *name)
{
	const char *slash = strrchr(from->name, '/');
	char *joined;

	if (*name == '/' || !slash)
		return strdup(name);
	if (asprintf(&joined, "%.*s/%s", (int)(slash - from->name), from->name, name) < 0)
		return NULL;
	return joined;
}

bool source_identify(struct source *source, int fd)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return false;
	source->device = status.st_dev;
	source->inode = status.st_ino;
	for (const struct source *outer = source->parent; outer; outer = outer->parent) {
		if (outer->device == source->device && outer->inode == source->inode)
			return true;
	}
	return false;
}

unsigned source_depth(const struct source *source)
{
	unsigned depth = 0;

	for (; source->parent; source = source->parent)
		depth++;
	return depth;
}
