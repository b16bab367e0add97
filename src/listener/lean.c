/* SPDX-License-Identifier: MIT */
/*
 * The cheap fork. Each trick, what it buys (of about 100 us that a connection costs; measure
 * with tests/bench, conn/s and server CPU a connection), and what breaks without care:
 *
 * 1. Few mappings are inherited (lean_trim): all but text, constants, region, slots, commands
 *    and settings are marked MADV_DONTFORK. 0.7 us for each mapping and 0.1 us for each dirty
 *    page that is not copied; and no anonymous memory is shared with children, so that no
 *    anon_vma chain grows with the live workers (which matters with 10,000 of them). Care: a
 *    worker must not touch data, heap, libc, TLS or the old stack: they are not mapped. Its
 *    files are compiled freestanding and without stack protector, and tests/run/test_lean.py
 *    looks at what they refer to.
 * 2. One region (lean_open, lean_map_shared): stack, small buffer, slots, commands and settings
 *    lie in the same aligned 2 MiB as the worker's text if there is room: this takes one page
 *    table instead of up to four, which cost 4 KiB and 1 us each. Care: the listener never
 *    touches the private part, or it would be copied on write.
 * 3. Stack and buffer share a page (lean_open): a worker with small messages dirties one page,
 *    not two. 1 us and 4 KiB. Care: deep calls must not be on the short path.
 * 4. Raw clone on that stack (lean_fork): without libc's fork handlers, locks and TLS, 10 us;
 *    the six values that a worker needs travel in registers, so that nothing is copied to the
 *    stack. Care: it never returns.
 * 5. No rseq (lean_trim): a registered area would be written by the kernel in each worker at the
 *    first preemption. Care: without TLS that write is a segmentation fault, so nothing is
 *    trimmed if the area cannot be unregistered.
 */
#include "listener/lean.h"

#include <assert.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/sys.h"

#define PAGE_BYTES 4096u
#define WINDOW_BYTES (2ul << 20)
#define STEP_BYTES (64ul << 10)
#define STACK_BYTES (16ul << 10)
#define SHARED_STACK_BYTES 2048u	/* of the page that stack and buffer share */
#define REGION_BYTES \
	((STACK_BYTES + SHARED_STACK_BYTES + ECHO_SMALL_BYTES + PAGE_BYTES - 1) & \
	 ~(PAGE_BYTES - 1ul))

/* Memory of the workers: the next place to try, and the stack and small buffer of all of them. */
static uintptr_t window_next;
static uint8_t *stack_top;

/* Maps at the first free place of the window, the aligned 2 MiB of our text; else elsewhere. */
static void *window_map(int fd, size_t size, int protection, int flags)
{
	uintptr_t end = ((uintptr_t)worker_run & ~(WINDOW_BYTES - 1)) + WINDOW_BYTES;

	assert(size > 0);
	for (uintptr_t at = window_next; LEAN && at + size <= end; at += STEP_BYTES) {
		void *memory = mmap((void *)at, size, protection, flags | MAP_FIXED_NOREPLACE, fd,
				    0);

		if (memory != MAP_FAILED) {
			window_next = (at + size + STEP_BYTES - 1) & ~(STEP_BYTES - 1);
			return memory;
		}
		if (errno != EEXIST)
			break;
	}
	return mmap(NULL, size, protection, flags, fd, 0);
}

int lean_open(void)
{
	uint8_t *region;

	window_next = (uintptr_t)worker_run & ~(WINDOW_BYTES - 1);
	region = window_map(-1, PAGE_BYTES + REGION_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS);
	if (region == MAP_FAILED)
		return -ENOMEM;
	/* a stack that overflows must hit no other mapping */
	if (LEAN)
		(void)munmap(region, PAGE_BYTES);
	stack_top = region + PAGE_BYTES + STACK_BYTES + SHARED_STACK_BYTES;
	return 0;
}

void *lean_map_shared(int fd, size_t size, int protection)
{
	void *memory = window_map(fd, size, protection, MAP_SHARED);

	return memory == MAP_FAILED ? NULL : memory;
}

#if LEAN

#ifdef __GLIBC__
#include <sys/rseq.h>

/* The size that libc registered is that of the first rseq ABI; newer ones name a smaller one. */
static int lean_unregister_rseq(void)
{
	char *area = (char *)__builtin_thread_pointer() + __rseq_offset;
	const unsigned int sizes[] = { 32, __rseq_size };

	if (__rseq_size == 0)
		return 0;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (syscall(SYS_rseq, area, sizes[i], RSEQ_FLAG_UNREGISTER, RSEQ_SIG) == 0)
			return 0;
	}
	return -errno;
}
#else
static int lean_unregister_rseq(void)
{
	return 0;	/* such a libc, as musl, registers none */
}
#endif

static const uint8_t constant = 1;	/* its address is among the constants of the program */

/*
 * Takes one line of /proc/self/maps, "BEGIN-END PERMISSIONS ...". Keeps shared mappings, the
 * region, our text and our constants (which may share one mapping).
 */
static void lean_trim_mapping(const char *line)
{
	char *rest;
	uintptr_t begin = strtoul(line, &rest, 16);
	uintptr_t end = strtoul(rest + 1, &rest, 16);
	uintptr_t region = (uintptr_t)stack_top - STACK_BYTES - SHARED_STACK_BYTES;
	const uintptr_t kept[] = { region, (uintptr_t)worker_run, (uintptr_t)&constant };

	if (strlen(rest) > 4 && rest[4] == 's')
		return;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		if (begin <= kept[i] && kept[i] < end)
			return;
	}
	(void)madvise((void *)begin, end - begin, MADV_DONTFORK);
}

void lean_trim(void)
{
	static char text[16384];
	FD_CLEANUP int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -errno : fd_read_full(fd, text, sizeof(text) - 1);
	char *line = text, *end;

	if (n < 0 || lean_unregister_rseq() < 0)
		return;
	while ((end = strchr(line, '\n'))) {
		*end = '\0';
		lean_trim_mapping(line);
		line = end + 1;
	}
}

pid_t lean_fork(struct worker_call *call, int exit_signal, _Atomic int32_t *ret_pid)
{
	/* in the places of child_tid and tls, which clone(2) reads only with their flags */
	register worker_entry entry __asm__("r10") = call->entry;
	register long tls __asm__("r8") = 0;
	register void *slot __asm__("r12") = call->slot;
	register const struct settings *settings __asm__("r13") = call->settings;
	register uint64_t proof __asm__("r14") = call->proof;
	register uint8_t *small __asm__("r15") = stack_top;
	register const _Atomic uint64_t *command __asm__("r9") = call->command; /* stays there */
	long r;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%rbx, %%rdi\n\t"
			 "mov %%r12, %%rsi\n\t"
			 "mov %%r13, %%rdx\n\t"
			 "mov %%r14, %%rcx\n\t"
			 "xor %%r14d, %%r14d\n\t"
			 "mov %%r15, %%r8\n\t"
			 "call *%%r10\n\t"
			 "ud2\n"
			 "1:"
			 : "=a"(r)
			 : "0"((long)SYS_clone), "D"((long)(CLONE_PARENT_SETTID | exit_signal)),
			   "S"(stack_top), "d"(ret_pid), "r"(entry), "r"(tls),
			   "b"(worker_pack(call->fd, call->flags)), "r"(slot), "r"(settings),
			   "r"(proof), "r"(small), "r"(command)
			 : "rcx", "r11", "memory", "cc");
	return (pid_t)r;
}

#else

void lean_trim(void)
{
}

/* As fork(2), which has no CLONE_PARENT_SETTID and no exit signal but SIGCHLD. */
static long plain_clone(unsigned long flags, _Atomic int32_t *ret_pid)
{
#if defined(__s390x__) || defined(__s390__) || defined(__CRIS__)
	return syscall(SYS_clone, NULL, flags, ret_pid, NULL, 0);
#else
	return syscall(SYS_clone, flags, NULL, ret_pid, NULL, 0);
#endif
}

pid_t lean_fork(struct worker_call *call, int exit_signal, _Atomic int32_t *ret_pid)
{
	long pid = plain_clone(CLONE_PARENT_SETTID | (unsigned long)exit_signal, ret_pid);

	if (pid == 0) {
		const uint64_t proof = call->proof;

		call->proof = 0;
		call->entry(worker_pack(call->fd, call->flags), call->slot, call->settings, proof,
			    stack_top, call->command);
	}
	return pid < 0 ? -errno : (pid_t)pid;
}

#endif
