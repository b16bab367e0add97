/* SPDX-License-Identifier: MIT */
/*
 * The system calls of listener and worker in one thin layer: each returns its result or -errno and
 * touches no memory but its arguments. If LEAN, calls are instructions in place, because a lean
 * worker has no errno nor anything else of libc mapped; otherwise they use syscall(2). They are not
 * libc's own functions, which on some architectures use socketcall(2) for sockets: its arguments
 * are in memory, where no seccomp filter sees them.
 */
#ifndef ECHOD_BASE_SYS_H
#define ECHOD_BASE_SYS_H

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* The analyzer sees what library calls write, not what the instruction does. */
#if defined(STATIC_LISTENER) && defined(__x86_64__) && !defined(__clang_analyzer__)
#define LEAN 1
#else
#define LEAN 0
#endif

#if LEAN

static inline long sys_call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return r;
}

#define SYS_LIBC(call, ...) SYS(__VA_ARGS__)

#else

static inline long sys_result(long r)
{
	return r < 0 ? -errno : r;
}

static inline long sys_call(long number, long a, long b, long c, long d, long e, long f)
{
	return sys_result(syscall(number, a, b, c, d, e, f));
}

/*
 * Calls libc's function after all, for calls with times, offsets or limits: on 32 bits libc knows
 * which form of them the kernel has.
 */
#define SYS_LIBC(call, ...) sys_result((long)(call))

#endif

/* SYS(NUMBER, ARGUMENT, ...): up to six; missing ones are 0. */
#define SYS(...) SYS_PADDED(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define SYS_PADDED(number, a, b, c, d, e, f, ...) \
	sys_call((number), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* For calls that need no more than a C type and parameters around SYS(). */
#define SYS_CALL(type, name, parameters, ...) \
	static inline type name parameters \
	{ \
		return (type)SYS(__VA_ARGS__); \
	}

SYS_CALL(ssize_t, sys_read, (int fd, void *bytes, size_t size), SYS_read, fd, bytes, size)
SYS_CALL(ssize_t, sys_recv, (int fd, void *bytes, size_t size, int flags),
	 SYS_recvfrom, fd, bytes, size, flags)
SYS_CALL(ssize_t, sys_send, (int fd, const void *bytes, size_t size, int flags),
	 SYS_sendto, fd, bytes, size, flags)
SYS_CALL(int, sys_sendmmsg, (int fd, struct mmsghdr *messages, unsigned int count, int flags),
	 SYS_sendmmsg, fd, messages, count, flags)
SYS_CALL(int, sys_accept, (int fd, struct sockaddr *address, socklen_t *length),
	 SYS_accept4, fd, address, length, SOCK_CLOEXEC)
SYS_CALL(int, sys_getsockname, (int fd, struct sockaddr *address, socklen_t *length),
	 SYS_getsockname, fd, address, length)
SYS_CALL(int, sys_getpeername, (int fd, struct sockaddr *address, socklen_t *length),
	 SYS_getpeername, fd, address, length)
SYS_CALL(int, sys_getsockopt, (int fd, int level, int name, void *value, socklen_t *length),
	 SYS_getsockopt, fd, level, name, value, length)
SYS_CALL(int, sys_setsockopt, (int fd, int level, int name, const void *value, socklen_t length),
	 SYS_setsockopt, fd, level, name, value, length)
SYS_CALL(int, sys_shutdown, (int fd, int how), SYS_shutdown, fd, how)
SYS_CALL(int, sys_ioctl, (int fd, unsigned long request, int *value), SYS_ioctl, fd, request, value)
SYS_CALL(int, sys_close, (int fd), SYS_close, fd)
SYS_CALL(int, sys_close_range, (unsigned int first, unsigned int last),
	 SYS_close_range, first, last)
SYS_CALL(int, sys_munmap, (void *address, size_t size), SYS_munmap, address, size)
SYS_CALL(int, sys_madvise, (void *address, size_t size, int advice),
	 SYS_madvise, address, size, advice)
SYS_CALL(ssize_t, sys_random, (void *bytes, size_t size), SYS_getrandom, bytes, size, 0)
SYS_CALL(pid_t, sys_getpid, (void), SYS_getpid, 0)
/* The kernel kills this process when its parent ends (prctl(2)). */
SYS_CALL(int, sys_end_with_parent, (void), SYS_prctl, PR_SET_PDEATHSIG, SIGKILL)

static inline int sys_recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
	return (int)SYS_LIBC(recvmmsg(fd, messages, count, flags, NULL), SYS_recvmmsg, fd, messages,
			     count, flags);
}

/* Installs a seccomp filter: count records of struct sock_filter. */
static inline int sys_install_filter(const uint64_t *records, uint32_t count)
{
	const struct sock_fprog program = {
		.len = (unsigned short)count,
		.filter = (struct sock_filter *)(uintptr_t)records,
	};

	return (int)SYS(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

/* Soft and hard limit of this process. Valgrind's runs have their own setrlimit(). */
static inline int sys_set_limit(int resource, rlim_t value)
{
	const struct rlimit limit = { value, value };

	return (int)SYS_LIBC(setrlimit(resource, &limit), SYS_prlimit64, 0, resource, &limit);
}

/* Waits for so long at most; UINT64_MAX: for ever. Leaves the signal mask as it is. */
static inline int sys_poll(struct pollfd *fds, unsigned int count, uint64_t wait_ns)
{
	struct timespec timeout = { .tv_sec = (time_t)(wait_ns / CLOCK_NS_PER_S),
				    .tv_nsec = (long)(wait_ns % CLOCK_NS_PER_S) };
	struct timespec *limit = wait_ns == UINT64_MAX ? NULL : &timeout;

	return (int)SYS_LIBC(ppoll(fds, count, limit, NULL), SYS_ppoll, fds, count, limit, 0,
			     sizeof(uint64_t));
}

static inline pid_t sys_wait(pid_t pid, int *status, int options, struct rusage *usage)
{
	return (pid_t)SYS_LIBC(wait4(pid, status, options, usage), SYS_wait4, pid, status, options,
			       usage);
}

/* Private anonymous memory, readable and writable; NULL when there is none. */
static inline void *sys_memory(size_t size)
{
	const int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
#if LEAN
	long r = SYS(SYS_mmap, 0, size, protection, flags, -1);

	return r < 0 && r > -4096 ? NULL : (void *)r;
#else
	void *memory = mmap(NULL, size, protection, flags, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
#endif
}

static inline int sys_setitimer(const struct itimerval *value)
{
	return (int)SYS_LIBC(setitimer(ITIMER_REAL, value, NULL), SYS_setitimer,
			     ITIMER_REAL, value);
}

/* CLOCK_MONOTONIC without the vDSO, which a lean worker has not. */
static inline uint64_t sys_now_ns(void)
{
	struct timespec now = { .tv_sec = 0 };

	(void)SYS_LIBC(clock_gettime(CLOCK_MONOTONIC, &now), SYS_clock_gettime, CLOCK_MONOTONIC,
			&now);
	return (uint64_t)now.tv_sec * CLOCK_NS_PER_S + (uint64_t)now.tv_nsec;
}

static inline noreturn void sys_exit(int status)
{
#if LEAN
	SYS(SYS_exit_group, status);
	__builtin_unreachable();
#else
	_exit(status);
#endif
}

#endif
