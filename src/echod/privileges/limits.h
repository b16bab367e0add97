/* SPDX-License-Identifier: MIT */
/* The arithmetic of limits: which of them does not suffice, and what it should be. Pure. */
#ifndef ECHOD_PRIVILEGES_LIMITS_H
#define ECHOD_PRIVILEGES_LIMITS_H

#include <stdint.h>

/* What the machine allows; UINT64_MAX: no limit, or it cannot be read. */
struct privileges_limits {
	uint64_t descriptors;		/* RLIMIT_NOFILE, hard */
	uint64_t user_processes;	/* RLIMIT_NPROC, hard */
	uint64_t cgroup_processes;	/* least pids.max from our cgroup up to the root */
	uint64_t system_processes;	/* kernel.pid_max */
	uint64_t system_threads;	/* kernel.threads-max */
};

/* What connections need. */
struct privileges_needs {
	uint64_t descriptors;		/* of one process */
	uint64_t processes;		/* echod's own */
	uint64_t system_processes;	/* those and the rest of the machine's */
};

struct privileges_needs privileges_compute_needs(uint32_t connections);

#define PRIVILEGES_WARNINGS_MAX 5
#define PRIVILEGES_WARNING_MAX 256

/*
 * Writes one line for each limit that does not suffice: "connections = 1024 needs 1032
 * processes of the user, RLIMIT_NPROC is 512: LimitNPROC=1032"; descriptors, which do not grow with
 * connections, are what "echod needs". Returns their number.
 */
unsigned privileges_find_shortages(const struct privileges_limits *limits, uint32_t connections,
				   char warnings[PRIVILEGES_WARNINGS_MAX][PRIVILEGES_WARNING_MAX]);

/*
 * Path of the cgroup below the controller's mount point from the text of /proc/self/cgroup
 * (cgroups(7)): the line "N:pids:PATH", else the unified "0::PATH", cut off in text itself.
 * Returns it, NULL when there is none; *ret_is_unified says which.
 */
char *privileges_find_cgroup(char *text, int *ret_is_unified);

#endif
