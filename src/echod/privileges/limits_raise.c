/* SPDX-License-Identifier: MIT */
/* Reading the limits of process, control group and system, and raising what may be raised. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/fd.h"
#include "base/io.h"
#include "base/number.h"
#include "echod/log/log.h"
#include "echod/privileges/limits.h"
#include "echod/privileges/privileges.h"

#define CGROUP_TEXT_MAX 4096

/* Text of a small file without its newline. Returns 0 or -errno. */
static int read_text(const char *path, char *text, size_t size)
{
	FD_CLEANUP int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return -errno;
	length = io_read_full(fd, text, size - 1);
	if (length < 0)
		return (int)length;
	if (length > 0 && text[length - 1] == '\n')
		length--;
	text[length] = '\0';
	return 0;
}

/* A number from a file; "max" and what cannot be read (ProcSubset=pid) is no limit. */
static uint64_t read_limit(const char *path)
{
	char text[32];
	uint64_t value;

	if (read_text(path, text, sizeof(text)) < 0 ||
	    number_parse(text, 0, UINT64_MAX, &value) < 0)
		return UINT64_MAX;
	return value;
}

/* pids.max holds for all below it: the least on the way up to the root counts. */
static uint64_t read_cgroup_limit(void)
{
	char text[CGROUP_TEXT_MAX], path[CGROUP_TEXT_MAX + 64];
	const char *root = "/sys/fs/cgroup";
	uint64_t least = UINT64_MAX, limit;
	char *group, *slash;
	int is_unified;

	if (read_text("/proc/self/cgroup", text, sizeof(text)) < 0)
		return UINT64_MAX;
	group = privileges_find_cgroup(text, &is_unified);
	if (group == NULL)
		return UINT64_MAX;
	if (!is_unified)
		root = "/sys/fs/cgroup/pids";
	while ((slash = strrchr(group, '/')) != NULL) {
		snprintf(path, sizeof(path), "%s%s/pids.max", root, group);
		limit = read_limit(path);
		if (limit < least)
			least = limit;
		*slash = '\0';
	}
	return least;
}

/* Raises the soft limit to need as far as the hard one allows; returns the hard one. */
static uint64_t raise_limit(__rlimit_resource_t resource, uint64_t need)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) < 0)
		return UINT64_MAX;
	if (limit.rlim_cur < need && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max;
		if (setrlimit(resource, &limit) < 0)
			return limit.rlim_cur;
	}
	return limit.rlim_max == RLIM_INFINITY ? UINT64_MAX : limit.rlim_max;
}

void privileges_check_limits(const struct configuration *configuration)
{
	uint32_t connections = configuration->limits.connections;
	struct privileges_needs needs = privileges_compute_needs(connections);
	struct privileges_limits limits = {
		.descriptors = raise_limit(RLIMIT_NOFILE, needs.descriptors),
		.user_processes = raise_limit(RLIMIT_NPROC, needs.processes),
		.cgroup_processes = read_cgroup_limit(),
		.system_processes = read_limit("/proc/sys/kernel/pid_max"),
		.system_threads = read_limit("/proc/sys/kernel/threads-max"),
	};
	char warnings[PRIVILEGES_WARNINGS_MAX][PRIVILEGES_WARNING_MAX];
	unsigned count;

	count = privileges_find_shortages(&limits, connections, warnings);
	for (unsigned i = 0; i < count; i++)
		log_warning("%s", warnings[i]);
}
