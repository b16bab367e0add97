/* SPDX-License-Identifier: MIT */
/*
 * The system calls that a listener and its workers make once they are in the sandbox, by name:
 * what echod compiles into filter[] and worker_filter[] of the settings block, and all that the
 * listener's code may use after its start. A worker inherits the listener's filter, so that one
 * allows both lists.
 */
#ifndef ECHOD_WIRE_SYSCALLS_H
#define ECHOD_WIRE_SYSCALLS_H

/*
 * The listener: its loop (ppoll, read from the signal descriptor, recvfrom and sendto on the
 * channel), accept and judge (accept4, getsockname, getsockopt for a Unix peer, getpeername for a
 * connection that was passed, shutdown), fork and reap (clone, wait4). What a worker does before it
 * is one: close_range, and seccomp with SETTINGS_WORKER_FILTER.
 */
#define SYSCALLS_LISTENER \
	"accept4", "clock_gettime", "clone", "close", "close_range", "exit_group", \
	"getpeername", "getsockname", "getsockopt", "ppoll", "read", "recvfrom", \
	"restart_syscall", "rt_sigreturn", "seccomp", "sendto", "shutdown", "wait4"

/*
 * A worker once it has its own filter: echo (recvfrom, sendto), its timers (setsockopt
 * SO_RCVTIMEO, ioctl SIOCOUTQ, clock_gettime, setitimer), bulk (mmap and munmap), memory given back
 * (madvise), whether a command is its own (getpid), the end (shutdown, ppoll, getsockopt TCP_INFO,
 * close).
 */
#define SYSCALLS_WORKER \
	"clock_gettime", "close", "exit_group", "getpid", "getsockopt", "ioctl", "madvise", "mmap", \
	"munmap", "ppoll", "recvfrom", "restart_syscall", "rt_sigreturn", "sendto", "setitimer", \
	"setsockopt", "shutdown"

/*
 * What the libc of an architecture calls in place of one of these, where it is one of 32 bits:
 * times of 64 bits, offsets of mappings, the calls of before recvfrom and rt_sigreturn. There it
 * belongs to both lists; a name that the architecture does not have is left out.
 */
#define SYSCALLS_NARROW \
	"clock_gettime64", "mmap2", "ppoll_time64", "recv", "send", "sigreturn"

#endif
