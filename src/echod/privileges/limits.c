/* SPDX-License-Identifier: MIT */
/*
 * Who needs what. A connection costs one process and, in that process, one descriptor: the
 * listener closes its own copy after the fork. So descriptors do not grow with connections,
 * processes do; while a reload drains an old generation, its workers count into `connections` and
 * only its listener comes on top.
 */
#include "echod/privileges/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "wire/settings.h"

/* The supervisor's: log, notify, event loop, control clients, what each generation takes. */
#define SUPERVISOR_DESCRIPTORS 128
/* The supervisor and the listeners of a few generations. */
#define OTHER_PROCESSES 8
/* What a small machine runs besides; kernel threads take process ids too. */
#define REST_OF_SYSTEM 200

struct privileges_needs privileges_compute_needs(uint32_t connections)
{
	/* the supervisor: two sets of sockets during a reload, and copies for the new listener */
	struct privileges_needs needs = {
		.descriptors = SUPERVISOR_DESCRIPTORS + 3 * SETTINGS_MAX_SOCKETS,
		.processes = (uint64_t)connections + OTHER_PROCESSES,
	};

	needs.system_processes = needs.processes + REST_OF_SYSTEM;
	return needs;
}

unsigned privileges_find_shortages(const struct privileges_limits *limits, uint32_t connections,
				   char warnings[PRIVILEGES_WARNINGS_MAX][PRIVILEGES_WARNING_MAX])
{
	struct privileges_needs needs = privileges_compute_needs(connections);
	char key[32];
	const struct {
		uint64_t limit;
		uint64_t need;
		const char *who;
		const char *what;
		const char *name;
		const char *remedy;
	} rows[PRIVILEGES_WARNINGS_MAX] = {
		{limits->descriptors, needs.descriptors, "echod", "descriptors", "RLIMIT_NOFILE",
		 "LimitNOFILE"},
		{limits->user_processes, needs.processes, key, "processes of the user",
		 "RLIMIT_NPROC", "LimitNPROC"},
		{limits->cgroup_processes, needs.processes, key, "processes in the control group",
		 "pids.max", "TasksMax"},
		{limits->system_processes, needs.system_processes, key, "process ids on the system",
		 "kernel.pid_max", "sysctl kernel.pid_max"},
		{limits->system_threads, needs.system_processes, key, "threads on the system",
		 "kernel.threads-max", "sysctl kernel.threads-max"},
	};
	unsigned count = 0;

	snprintf(key, sizeof(key), "connections = %" PRIu32, connections);
	for (unsigned i = 0; i < PRIVILEGES_WARNINGS_MAX; i++) {
		if (rows[i].limit >= rows[i].need)
			continue;
		snprintf(warnings[count++], PRIVILEGES_WARNING_MAX,
			 "%s needs %" PRIu64 " %s, %s is %" PRIu64 ": %s=%" PRIu64, rows[i].who,
			 rows[i].need, rows[i].what, rows[i].name, rows[i].limit, rows[i].remedy,
			 rows[i].need);
	}
	return count;
}

/* True when name is one of the comma separated controllers. */
static int has_controller(const char *list, size_t length, const char *name)
{
	size_t size;

	for (const char *at = list; at < list + length; at += size + 1) {
		size = strcspn(at, ",:");
		if (size == strlen(name) && memcmp(at, name, size) == 0)
			return 1;
	}
	return 0;
}

char *privileges_find_cgroup(char *text, int *ret_is_unified)
{
	char *unified = NULL, *controllers, *path, *saved;

	for (char *line = strtok_r(text, "\n", &saved); line != NULL;
	     line = strtok_r(NULL, "\n", &saved)) {
		controllers = strchr(line, ':');
		path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
		if (path == NULL)
			continue;
		controllers++;
		path++;
		if (has_controller(controllers, (size_t)(path - 1 - controllers), "pids")) {
			*ret_is_unified = 0;
			return path;
		}
		if (controllers + 1 == path)
			unified = path;
	}
	*ret_is_unified = 1;
	return unified;
}
