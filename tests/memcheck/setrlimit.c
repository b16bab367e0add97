/* SPDX-License-Identifier: MIT */
/*
 * The listener's setrlimit() under valgrind, which keeps some descriptors above the hard limit for
 * itself and refuses to move that: the soft limit alone is set.
 */
#include <errno.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limits)
{
	struct rlimit wanted = *limits, now;

	if (resource == RLIMIT_NOFILE && getrlimit(resource, &now) == 0)
		wanted.rlim_max = now.rlim_max;
	return (int)syscall(SYS_prlimit64, 0, resource, &wanted, NULL);
}
