/* SPDX-License-Identifier: MIT */
/* What the side that faces the network may ask of the kernel; anything else kills it. */
#include "config.h"

#include "echod/generation/filter.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "wire/syscalls.h"

#ifdef INSTRUMENTED
#define DEFAULT_ACTION SCMP_ACT_ALLOW

/* Sanitizers make calls of their own: no more is forbidden than what nobody needs. */
static int add_rules(scmp_filter_ctx context, enum filter_kind kind)
{
	int result = seccomp_rule_add(context, SCMP_ACT_KILL_PROCESS, SCMP_SYS(socket), 0);

	(void)kind;
	if (result == 0)
		result = seccomp_rule_add(context, SCMP_ACT_KILL_PROCESS, SCMP_SYS(execve), 0);
	return result;
}
#else
#define DEFAULT_ACTION SCMP_ACT_KILL_PROCESS

static const char *const worker_calls[] = { SYSCALLS_WORKER };
static const char *const listener_calls[] = { SYSCALLS_LISTENER };
static const char *const narrow_calls[] = { SYSCALLS_NARROW };

/* Memory is never made executable, and no process starts in namespaces of its own. */
static int allow_call(scmp_filter_ctx context, int call)
{
	const uint64_t namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
				    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

	/* The old one has its arguments in memory, where no filter sees them; nobody calls it. */
	if (call == SCMP_SYS(mmap) && SCMP_SYS(mmap2) >= 0)
		return 0;
	if (call == SCMP_SYS(mmap) || call == SCMP_SYS(mmap2))
		return seccomp_rule_add(context, SCMP_ACT_ALLOW, call, 1,
					SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (call == SCMP_SYS(clone))
		return seccomp_rule_add(context, SCMP_ACT_ALLOW, call, 1,
					SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces, 0));
	return seccomp_rule_add(context, SCMP_ACT_ALLOW, call, 0);
}

static int allow(scmp_filter_ctx context, const char *const *calls, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int call = seccomp_syscall_resolve_name(calls[i]);
		int result = call == __NR_SCMP_ERROR ? -ENOSYS : allow_call(context, call);

		/* A rule that the list before had already is no error. */
		if (result < 0 && result != -EEXIST)
			return result;
	}
	return 0;
}

/* Numbers below zero stand for calls that this architecture does not have. */
static int allow_narrow(scmp_filter_ctx context)
{
	int result = 0;

	for (size_t i = 0; i < sizeof(narrow_calls) / sizeof(*narrow_calls) && result == 0; i++) {
		int call = seccomp_syscall_resolve_name(narrow_calls[i]);

		if (call >= 0)
			result = allow_call(context, call);
	}
	return result;
}

static int add_rules(scmp_filter_ctx context, enum filter_kind kind)
{
	int result = allow(context, worker_calls, sizeof(worker_calls) / sizeof(*worker_calls));

	if (result == 0)
		result = allow_narrow(context);
	if (result < 0 || kind == FILTER_WORKER)
		return result;
	return allow(context, listener_calls, sizeof(listener_calls) / sizeof(*listener_calls));
}
#endif

/* libseccomp writes a program to a descriptor only: a memory file takes it. */
static int export(scmp_filter_ctx context, struct filter *ret_filter)
{
	FD_CLEANUP int fd = memfd_create("echod-filter", MFD_CLOEXEC);
	struct sock_filter *instructions;
	struct stat status;
	ssize_t size;
	int result;

	if (fd < 0)
		return -errno;
	result = seccomp_export_bpf(context, fd);
	if (result < 0)
		return result;
	if (fstat(fd, &status) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	instructions = malloc((size_t)status.st_size);
	if (!instructions)
		return -ENOMEM;
	size = io_read_full(fd, instructions, (size_t)status.st_size);
	if (size != status.st_size) {
		free(instructions);
		return size < 0 ? (int)size : -EIO;
	}
	*ret_filter = (struct filter){ instructions, (size_t)size / sizeof(*instructions) };
	return 0;
}

int filter_compile(enum filter_kind kind, struct filter *ret_filter)
{
	scmp_filter_ctx context = seccomp_init(DEFAULT_ACTION);
	int result;

	if (!context)
		return -ENOMEM;
	result = add_rules(context, kind);
	if (result == 0)
		result = export(context, ret_filter);
	seccomp_release(context);
	return result;
}

void filter_release(struct filter *filter)
{
	free(filter->instructions);
	*filter = (struct filter){ };
}
