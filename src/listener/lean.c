/* SPDX-License-Identifier: MIT */
/*
 * The cheap fork. Each trick, what it buys (of about 100 us that a connection costs; measure
 * with tests/bench, conn/s and server CPU a connection), and what breaks without care:
 *
 * 1. Few mappings are inherited (lean_trim): all but text, constants, region, slots, commands and
 *    settings are marked MADV_DONTFORK. 0.7 us for each mapping and 0.1 us for each dirty page
 *    that is not copied; and no anonymous memory is shared with children, so that no anon_vma
 *    chain grows with the live ones (rate with 10,000 held). Care: a worker must not touch data,
 *    heap, libc, TLS or the old stack: it has none. Its files are compiled freestanding and without
 *    stack protector, and tests/run/test_lean.py looks at what they refer to.
 * 2. One region (lean_open, lean_map_shared): stack, small buffer, slots, commands and settings
 *    stand in the same aligned 2 MiB as the worker's text where there is room: one page table
 *    instead of up to four, 4 KiB and 1 us each. Care: the listener never touches the private
 *    part, or it would be copied on write.
 * 3. Stack and buffer share a page (lean_open): a worker with small messages dirties one page,
 *    not two. 1 us and 4 KiB. Care: deep calls must not be on the short path.
 * 4. Raw clone on that stack (lean_fork): without libc's fork handlers, locks and TLS, 10 us; the
 *    six values that a worker needs travel in registers, so that nothing is copied to the stack.
 *    Care: it never returns.
 * 5. No rseq (lean_trim): a registered area would be written by the kernel in each worker at the
 *    first preemption. Care: without TLS that write is a segmentation fault, so that no trimming
 *    happens when the area cannot be unregistered.
 */
#include "listener/lean.h"

#include <assert.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>

#include "base/sys.h"
#include "worker/echo.h"

#define PAGE_BYTES 4096u

#if LEAN

#include <sys/rseq.h>

#define WINDOW_BYTES (2ul << 20)
#define STEP_BYTES (64ul << 10)
#define STACK_BYTES (16ul << 10)
#define SHARED_STACK_BYTES 2048u	/* of the page that stack and buffer share */
#define REGION_BYTES \
	((STACK_BYTES + SHARED_STACK_BYTES + ECHO_SMALL_BYTES + PAGE_BYTES - 1) & \
	 ~(PAGE_BYTES - 1ul))

/* Maps at the first place of the window that is free; elsewhere when there is none. */
static void *window_map(struct lean *lean, int fd, size_t size, int protection, int flags)
{
	uintptr_t end = lean->window + WINDOW_BYTES;

	assert(size > 0);
	for (uintptr_t at = lean->next; at + size <= end; at += STEP_BYTES) {
		void *memory = mmap((void *)at, size, protection, flags | MAP_FIXED_NOREPLACE, fd,
				    0);

		if (memory != MAP_FAILED) {
			lean->next = (at + size + STEP_BYTES - 1) & ~(STEP_BYTES - 1);
			return memory;
		}
		if (errno != EEXIST)
			break;
	}
	return mmap(NULL, size, protection, flags, fd, 0);
}

int lean_open(struct lean *ret_lean)
{
	uint8_t *region;

	ret_lean->window = ret_lean->next = (uintptr_t)worker_run & ~(WINDOW_BYTES - 1);
	/* the first page goes away again: a stack that overflows shall meet nothing */
	region = window_map(ret_lean, -1, PAGE_BYTES + REGION_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS);
	if (region == MAP_FAILED)
		return -ENOMEM;
	(void)munmap(region, PAGE_BYTES);
	region += PAGE_BYTES;
	ret_lean->stack_top = region + STACK_BYTES + SHARED_STACK_BYTES;
	ret_lean->small = ret_lean->stack_top;
	return 0;
}

void *lean_map_shared(struct lean *lean, int fd, size_t size, int protection)
{
	void *memory = window_map(lean, fd, size, protection, MAP_SHARED);

	return memory == MAP_FAILED ? NULL : memory;
}

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

/* A hexadecimal number of /proc/self/maps; *text is moved behind it and one more character. */
static uintptr_t parse_address(const char **text)
{
	uintptr_t value = 0;

	for (;; ++*text) {
		char c = **text;

		if (c >= '0' && c <= '9')
			value = value << 4 | (uintptr_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uintptr_t)(c - 'a' + 10);
		else
			break;
	}
	++*text;
	return value;
}

static const uint8_t constant = 1;	/* stands where the constants of the program are */

/*
 * One line, "BEGIN-END PERMISSIONS ...": keeps shared mappings, the region, our text and our
 * constants (one mapping with both where the linker could).
 */
static void lean_trim_mapping(const struct lean *lean, const char *line)
{
	uintptr_t begin = parse_address(&line);
	uintptr_t end = parse_address(&line);
	uintptr_t region = (uintptr_t)lean->stack_top - STACK_BYTES - SHARED_STACK_BYTES;
	const uintptr_t kept[] = { region, (uintptr_t)worker_run, (uintptr_t)&constant };

	if (strlen(line) < 4 || line[3] == 's')
		return;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		if (begin <= kept[i] && kept[i] < end)
			return;
	}
	(void)madvise((void *)begin, end - begin, MADV_DONTFORK);
}

static ssize_t read_maps(char *text, size_t size)
{
	size_t length = 0;
	ssize_t n = 1;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (length < size - 1 && n > 0) {
		n = read(fd, text + length, size - 1 - length);
		length += n > 0 ? (size_t)n : 0;
	}
	(void)close(fd);
	text[length] = '\0';
	return (ssize_t)length;
}

int lean_trim(const struct lean *lean)
{
	static char text[16384];
	char *line = text, *end;
	ssize_t n = read_maps(text, sizeof(text));
	int r;

	if (n < 0)
		return (int)n;
	r = lean_unregister_rseq();
	if (r < 0)
		return r;
	while ((end = strchr(line, '\n'))) {
		*end = '\0';
		lean_trim_mapping(lean, line);
		line = end + 1;
	}
	return 0;
}

pid_t lean_fork(const struct lean *lean, struct worker_call *call, int exit_signal,
		_Atomic int32_t *ret_pid)
{
	register long child_tid __asm__("r10") = 0;
	register long tls __asm__("r8") = 0;
	register struct slot *slot __asm__("r12") = call->slot;
	register const struct settings *settings __asm__("r13") = call->settings;
	register uint64_t proof __asm__("r14") = call->proof;
	register uint8_t *small __asm__("r15") = call->small;
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
			 "call worker_run\n\t"
			 "ud2\n"
			 "1:"
			 : "=a"(r)
			 : "0"((long)SYS_clone), "D"((long)(CLONE_PARENT_SETTID | exit_signal)),
			   "S"(lean->stack_top), "d"(ret_pid), "r"(child_tid), "r"(tls),
			   "b"(worker_pack(call->fd, call->flags)), "r"(slot), "r"(settings),
			   "r"(proof), "r"(small), "r"(command)
			 : "rcx", "r11", "memory", "cc");
	return (pid_t)r;
}

#else

int lean_open(struct lean *ret_lean)
{
	ret_lean->small = sys_memory(ECHO_SMALL_BYTES);
	return ret_lean->small ? 0 : -ENOMEM;
}

void *lean_map_shared(struct lean *lean, int fd, size_t size, int protection)
{
	void *memory = mmap(NULL, size, protection, MAP_SHARED, fd, 0);

	(void)lean;
	return memory == MAP_FAILED ? NULL : memory;
}

int lean_trim(const struct lean *lean)
{
	(void)lean;
	return 0;
}

/* As fork(2), which knows neither CLONE_PARENT_SETTID nor another signal than SIGCHLD. */
static long plain_clone(unsigned long flags, _Atomic int32_t *ret_pid)
{
#if defined(__s390x__) || defined(__s390__) || defined(__CRIS__)
	return syscall(SYS_clone, NULL, flags, ret_pid, NULL, 0);
#else
	return syscall(SYS_clone, flags, NULL, ret_pid, NULL, 0);
#endif
}

pid_t lean_fork(const struct lean *lean, struct worker_call *call, int exit_signal,
		_Atomic int32_t *ret_pid)
{
	long pid = plain_clone(CLONE_PARENT_SETTID | (unsigned long)exit_signal, ret_pid);

	(void)lean;
	if (pid == 0) {
		const uint64_t proof = call->proof;

		call->proof = 0;
		worker_run(worker_pack(call->fd, call->flags), call->slot, call->settings, proof,
			   call->small, call->command);
	}
	return pid < 0 ? -errno : (pid_t)pid;
}

#endif
