/* SPDX-License-Identifier: MIT */
/*
 * The system calls that listener and workers may make; any other call kills them.
 *
 * A peer can take over a worker, so the question for each entry is what a hostile worker could do
 * with it. A worker holds one socket, runs as the service user and sees its process ids. So no
 * entry takes a path or an address to connect to, and every argument that selects a command, an
 * option, a clock or a resource is part of the rule: ioctl() with FIOSETOWN directs signals at any
 * process, clock_gettime() with a clock of another process tells whether that lives (and for how
 * long it has run), clone() and prlimit64() do what their flags say. A call without such arguments
 * is allowed by its number alone, which costs nothing (seccomp caches such numbers); those are the
 * calls of each message.
 *
 * tests/run/test_hostile_worker.py makes every call of this table from inside a worker.
 */
#include "config.h"

#include "echod/generation/filter.h"

#include <assert.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"

#ifdef INSTRUMENTED
#define DEFAULT_ACTION SCMP_ACT_ALLOW

/* Sanitizers make calls of their own: then only calls that no program needs are forbidden. */
static int add_rules(scmp_filter_ctx context, unsigned int kinds)
{
	int r = seccomp_rule_add(context, SCMP_ACT_KILL_PROCESS, SCMP_SYS(socket), 0);

	(void)kinds;
	if (r == 0)
		r = seccomp_rule_add(context, SCMP_ACT_KILL_PROCESS, SCMP_SYS(execve), 0);
	return r;
}
#else
#define DEFAULT_ACTION SCMP_ACT_KILL_PROCESS

#define LISTENER (FILTER_LISTENER | FILTER_LISTENER_STRICT)
#define NARROWING (FILTER_LISTENER_STRICT | FILTER_LISTENER_DATAGRAM)
#define WORKER (FILTER_WORKER | LISTENER)	/* inherited by workers: must allow it too */
#define ALL (FILTER_DATAGRAM | WORKER)

/* An argument, by its number. The kernel reads only 32 bits of an int. */
#define MASKED(number, mask, value) \
	{ .arg = (number), .op = SCMP_CMP_MASKED_EQ, .datum_a = (mask), .datum_b = (value) }
#define INT(number, value) MASKED(number, UINT32_MAX, (uint32_t)(value))
#define LONG(number, value) MASKED(number, UINT64_MAX, value)

/*
 * recvmmsg() and sendmmsg() could pass descriptors over a connection. So a listener, whose workers
 * inherit this, allows them on numbers from 8 on alone: there its sockets are, and no connection.
 */
#define CALLS_ON_SOCKETS(name) \
	CALL_WITH(name, FILTER_LISTENER_DATAGRAM, MASKED(0, 8, 8)), \
	CALL_WITH(name, FILTER_LISTENER_DATAGRAM, MASKED(0, 16, 16)), \
	CALL_WITH(name, FILTER_LISTENER_DATAGRAM, MASKED(0, 32, 32)), \
	CALL_WITH(name, FILTER_LISTENER_DATAGRAM, MASKED(0, 64, 64))
static_assert(LISTENER_FD_SOCKETS == 8 && LISTENER_FD_SOCKETS + SETTINGS_MAX_SOCKETS <= 128,
	      "sockets are where one of these bits is set");

#define CALL(name, who) { .number = SCMP_SYS(name), .kinds = (who) }
#define CALL_WITH(name, who, ...) \
	{ SCMP_SYS(name), (who), sizeof((struct scmp_arg_cmp[]){ __VA_ARGS__ }) / \
	  sizeof(struct scmp_arg_cmp), { __VA_ARGS__ } }

/*
 * Private memory that is not executable. The old mmap() has its arguments in memory, where no
 * filter sees them, and s390 has no other. clone() has its flags in another place there, too.
 */
#define MAP_ONLY LONG(2, PROT_READ | PROT_WRITE), LONG(3, MAP_PRIVATE | MAP_ANONYMOUS)
#ifdef __s390__
#define CALL_MMAP CALL(mmap, WORKER)
#define CLONE_FLAGS 1
#else
#ifdef __NR_mmap2
#define CALL_MMAP CALL_WITH(mmap2, WORKER, MAP_ONLY)
#else
#define CALL_MMAP CALL_WITH(mmap, WORKER, MAP_ONLY)
#endif
#define CLONE_FLAGS 0
#endif

/*
 * Calls that an architecture does not have are numbers below zero, for which libseccomp adds
 * nothing. So calls that exist on 32 bits only (times of 64 bits, the older sigreturn()) need no
 * condition.
 */
static const struct call {
	int number;
	unsigned int kinds;	/* enum filter_kind, one bit for each filter that allows it */
	unsigned int count;	/* of arguments that are looked at: all have to match */
	struct scmp_arg_cmp arguments[2];
} calls[] = {
	/* the copy loop, and the end */
	CALL(recvfrom, WORKER),
	CALL(sendto, WORKER),
	CALL(ppoll, ALL),
	CALL(ppoll_time64, ALL),
	CALL(shutdown, WORKER),
	CALL(close, WORKER),
	CALL(exit_group, ALL),
	/* timers, and orders of the supervisor: interrupted by SIGALRM and SIGURG */
	CALL_WITH(clock_gettime, ALL, INT(0, CLOCK_MONOTONIC)),
	CALL_WITH(clock_gettime64, ALL, INT(0, CLOCK_MONOTONIC)),
	CALL_WITH(setitimer, WORKER, INT(0, ITIMER_REAL)),
	CALL(restart_syscall, ALL),
	CALL(rt_sigreturn, ALL),
	CALL(sigreturn, ALL),
	CALL(getpid, WORKER),
	CALL_WITH(ioctl, WORKER, INT(1, SIOCOUTQ)),
	CALL_WITH(ioctl, WORKER, INT(1, SIOCOUTQNSD)),
	CALL_WITH(setsockopt, WORKER, INT(1, SOL_SOCKET), INT(2, SO_RCVTIMEO)),
	CALL_WITH(setsockopt, WORKER, INT(1, SOL_SOCKET), INT(2, SO_SNDTIMEO)),
	CALL_WITH(setsockopt, WORKER, INT(1, SOL_SOCKET), INT(2, SO_OOBINLINE)),
	CALL_WITH(setsockopt, WORKER, INT(1, IPPROTO_TCP), INT(2, TCP_USER_TIMEOUT)),
	CALL_WITH(getsockopt, WORKER, INT(1, SOL_SOCKET), INT(2, SO_ERROR)),
	CALL_WITH(getsockopt, WORKER, INT(1, IPPROTO_TCP), INT(2, TCP_INFO)),
	/* the large buffer, and memory given back */
	CALL_MMAP,
	CALL(munmap, WORKER),
	CALL_WITH(madvise, ALL, INT(2, MADV_DONTNEED)),
	/* before the first byte: the worker closes what it does not need */
	CALL_WITH(close_range, LISTENER, INT(2, 0)),
	CALL_WITH(prlimit64, LISTENER, INT(0, 0), INT(1, RLIMIT_NPROC)),
	CALL_WITH(seccomp, NARROWING, INT(0, SECCOMP_SET_MODE_FILTER), INT(1, 0)),
	/* the datagram process, and what it needs of the listener to get there */
	CALL(recvmmsg, FILTER_DATAGRAM),
	CALL(recvmmsg_time64, FILTER_DATAGRAM),
	CALL(sendmmsg, FILTER_DATAGRAM),
	CALLS_ON_SOCKETS(recvmmsg),
	CALLS_ON_SOCKETS(recvmmsg_time64),
	CALLS_ON_SOCKETS(sendmmsg),
	CALL_WITH(prctl, FILTER_LISTENER_DATAGRAM, INT(0, PR_SET_PDEATHSIG), INT(1, SIGKILL)),
	CALL_WITH(madvise, FILTER_LISTENER_DATAGRAM, INT(2, MADV_DOFORK)),
	CALL_WITH(madvise, FILTER_LISTENER_DATAGRAM, INT(2, MADV_DONTFORK)),
	/* the listener: accept and judge, fork (its workers cannot, see worker_run()) and reap */
	CALL(accept4, LISTENER),
	CALL(getpeername, LISTENER),
	CALL(getsockname, LISTENER),
	CALL_WITH(getsockopt, LISTENER, INT(1, SOL_SOCKET), INT(2, SO_PEERCRED)),
	CALL_WITH(getsockopt, LISTENER, INT(1, SOL_SOCKET), INT(2, SO_PROTOCOL)),
	CALL(getrandom, LISTENER),
	CALL_WITH(clone, LISTENER, MASKED(CLONE_FLAGS, ~(uint64_t)CSIGNAL, CLONE_PARENT_SETTID)),
	CALL(wait4, LISTENER),
	CALL(read, LISTENER),
};

static int add_rules(scmp_filter_ctx context, unsigned int kinds)
{
	int r = 0;

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls) && r == 0; i++) {
		if ((calls[i].kinds & kinds) == 0)
			continue;
		r = seccomp_rule_add_array(context, SCMP_ACT_ALLOW, calls[i].number,
					   calls[i].count, calls[i].arguments);
	}
	return r;
}
#endif

/* libseccomp can only write a program to a descriptor: uses a memory file. */
static int export(scmp_filter_ctx context, struct filter *ret_filter)
{
	FD_CLEANUP int fd = memfd_create("echod-filter", MFD_CLOEXEC);
	ssize_t size;
	int r;

	if (fd < 0)
		return -errno;
	r = seccomp_export_bpf(context, fd);
	if (r < 0)
		return r;
	size = pread(fd, ret_filter->instructions, sizeof(ret_filter->instructions), 0);
	if (size < 0)
		return -errno;
	assert((size_t)size < sizeof(ret_filter->instructions));
	ret_filter->count = (size_t)size / sizeof(*ret_filter->instructions);
	return 0;
}

int filter_compile(unsigned int kinds, struct filter *ret_filter)
{
	scmp_filter_ctx context = seccomp_init(DEFAULT_ACTION);
	int r;

	assert(kinds != 0);
	if (!context)	/* it asks the kernel, which may not have seccomp(2) or may forbid it */
		return -EOPNOTSUPP;
	r = add_rules(context, kinds);
	if (r == 0)
		r = export(context, ret_filter);
	seccomp_release(context);
	return r;
}
