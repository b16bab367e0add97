/* SPDX-License-Identifier: MIT */
/* The compiled filters, tried in processes of their own: what they allow, and what they kill. */
#include "config.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/seccomp.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "echod/generation/filter.h"

#define ALLOWED 7	/* exit code of a child that came to its end */

#define KINDS (sizeof(kinds) / sizeof(*kinds))

static const enum filter_kind kinds[] = { FILTER_WORKER, FILTER_LISTENER, FILTER_LISTENER_STRICT };

typedef void (*act_fn)(void);

/* Installs the filter in a child, lets it act there, and returns its wait status. */
static int act_in_child(unsigned int kind, act_fn act)
{
	struct filter filter = { .count = 0 };
	int status;
	pid_t pid;

	assert_int_equal(filter_compile(kind, &filter), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct sock_fprog program = {
			.len = (unsigned short)filter.count,
			.filter = filter.instructions,
		};

		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
			_exit(1);
		act();
		syscall(SYS_exit_group, ALLOWED);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void assert_killed(unsigned int kind, act_fn act)
{
	int status = act_in_child(kind, act);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void assert_allowed(unsigned int kind, act_fn act)
{
	int status = act_in_child(kind, act);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), ALLOWED);
}

static void act_nothing(void)
{
}

static void act_socket(void)
{
	syscall(SYS_socket, 1, 1, 0);
}

static void act_execve(void)
{
	syscall(SYS_execve, "/bin/true", NULL, NULL);
}

static void act_accept(void)
{
	syscall(SYS_accept4, -1, NULL, NULL, 0);
}

static void act_map(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void test_both(void **state)
{
	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		assert_allowed(kinds[i], act_nothing);
		assert_allowed(kinds[i], act_map);
		assert_killed(kinds[i], act_socket);
		assert_killed(kinds[i], act_execve);
	}
	assert_allowed(FILTER_LISTENER, act_accept);
	assert_allowed(FILTER_LISTENER_STRICT, act_accept);
}

#ifndef INSTRUMENTED
static void act_open(void)
{
	syscall(SYS_openat, -1, "/etc/passwd", 0);
}

static void act_kill(void)
{
	syscall(SYS_kill, 1, 0);
}

#ifndef __s390__	/* no filter sees the arguments of mmap() there */
static void act_map_executable(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
#endif

/* The flags are the second argument on s390, clone(2). */
static void clone_with(unsigned long flags)
{
	pid_t pid;

#ifdef __s390__
	syscall(SYS_clone, NULL, flags, &pid, NULL, NULL);
#else
	syscall(SYS_clone, flags, NULL, &pid, NULL, NULL);
#endif
}

static void act_namespace(void)
{
	clone_with(CLONE_NEWUSER | CLONE_PARENT_SETTID | SIGCHLD);
}

static void act_thread(void)
{
	/* One that cannot succeed: without CLONE_VM. */
	clone_with(CLONE_THREAD | CLONE_PARENT_SETTID);
}

static void act_clone(void)
{
	clone_with(CLONE_PARENT_SETTID | SIGCHLD);
}

static void act_seccomp(void)
{
	syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL);
}

static void test_allow_list(void **state)
{
	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		assert_killed(kinds[i], act_open);
		assert_killed(kinds[i], act_kill);
#ifndef __s390__
		assert_killed(kinds[i], act_map_executable);
#endif
		assert_killed(kinds[i], act_namespace);
		assert_killed(kinds[i], act_thread);
	}
	assert_allowed(FILTER_LISTENER, act_clone);
	assert_killed(FILTER_LISTENER, act_seccomp);
	assert_allowed(FILTER_LISTENER_STRICT, act_seccomp);
	assert_killed(FILTER_WORKER, act_clone);
	assert_killed(FILTER_WORKER, act_accept);
}

#define CALLS 512	/* numbers of system calls end below */

#ifndef SYS_clock_gettime
#define SYS_clock_gettime SYS_clock_gettime64
#endif

static int tried;

static void act_tried(void)
{
	syscall(tried, -1L, -1L, -1L, -1L, -1L, -1L);
}

/* Not looked at by any filter: calls that the kernel's own probes make. */
static bool is_probe(int number)
{
#ifdef __x86_64__
	return number == 335 || number == 336;
#else
	(void)number;
	return false;
#endif
}

/* Receive, send, wait, end; a look at a clock and memory that is given back have good arguments. */
static bool is_free(int number)
{
	static const int free_calls[] = {
		SYS_sendmmsg, SYS_exit_group, SYS_restart_syscall, SYS_rt_sigreturn,
#ifdef SYS_ppoll
		SYS_ppoll, SYS_recvmmsg,
#endif
#ifdef SYS_ppoll_time64
		SYS_ppoll_time64, SYS_recvmmsg_time64,
#endif
#ifdef SYS_sigreturn
		SYS_sigreturn,
#endif
	};

	for (size_t i = 0; i < sizeof(free_calls) / sizeof(*free_calls); i++) {
		if (free_calls[i] == number)
			return true;
	}
	return false;
}

static void act_clock(void)
{
	struct timespec now;

	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);	/* the library's makes no call */
}

static void act_give_back(void)
{
	syscall(SYS_madvise, NULL, 0, MADV_DONTNEED);
}

/* Every number with arguments that no rule looks for: neither a fork nor a path nor a limit. */
static void test_datagram(void **state)
{
	(void)state;
	for (tried = 0; tried < CALLS; tried++) {
		int status = is_probe(tried) ? 0 : act_in_child(FILTER_DATAGRAM, act_tried);
		bool is_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;

		if (!is_probe(tried) && is_killed == is_free(tried))
			fail_msg("call %d: %s", tried, is_killed ? "killed" : "not killed");
	}
	assert_killed(FILTER_DATAGRAM, act_map);
	assert_killed(FILTER_DATAGRAM, act_clone);
	assert_killed(FILTER_DATAGRAM, act_seccomp);
	assert_allowed(FILTER_DATAGRAM, act_clock);
	assert_allowed(FILTER_DATAGRAM, act_give_back);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both),
#ifndef INSTRUMENTED
		cmocka_unit_test(test_allow_list),
		cmocka_unit_test(test_datagram),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
