#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A worker that its peer has taken over, in the real sandbox, makes every system call there is."""
import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import platform
import re
import resource
import select
import signal
import socket
import struct
import termios

from harness import (DEADLINE_S, SRCDIR, Echod, case, exchange, is_defined, main, note, program,
                     read_exactly)
from harness_wire import WIRE, Struct

MODES = ("auto", "strict")
CALLS = 512         # numbers of system calls end below
COMMAND, ANSWER = struct.Struct("=3Q6q64s"), struct.Struct("=q4Q64s")
MAGIC = 0x6c6974736f68
CALL, CALL_32, READ, WRITE, VANISH = range(5)   # enum order
FIOSETOWN, SIOCSPGRP, SIOCATMARK, F_SETSIG = 0x8901, 0x8902, 0x8905, 10
CLONE_VM, CLONE_PARENT, CLONE_THREAD, CLONE_PARENT_SETTID = 0x100, 0x8000, 0x10000, 0x100000
CLONE_SIGHAND, CLONE_PIDFD, CLONE_NEWUSER = 0x800, 0x1000, 0x10000000
SO_ATTACH_BPF, SO_PEERPIDFD, TCP_ULP, TCP_CONGESTION, MSG_FASTOPEN = 50, 77, 31, 13, 0x20000000
MADV_REMOVE, MADV_MERGEABLE, MADV_PAGEOUT = 9, 12, 21
X32 = 0x40000000
IS_S390 = platform.machine().startswith("s390")

# What the filters let through whatever its arguments are, and why that hurts nobody.
FREE = {
    "recvfrom": "reads its own connection", "sendto": "writes to it, see test_addresses()",
    "shutdown": "ends it", "close": "lets go of it", "exit_group": "ends itself",
    "ppoll": "waits", "ppoll_time64": "the same on 32 bits", "restart_syscall": "waits on",
    "getpid": "tells what it knows",
    "rt_sigreturn": "changes its own registers", "munmap": "gives memory back",
}
if IS_S390:
    FREE["mmap"] = "its arguments are in memory, where no filter sees them"
if platform.machine().startswith("ppc64"):
    FREE["sigreturn"] = "an error: programs of 64 bits have none"
FREE_AUTO = {**FREE, "accept4": "it has no listening socket", "getpeername": "its own peer",
             "getsockname": "its own address", "getrandom": "random numbers",
             "wait4": "it has no children", "read": "reads its own connection"}

# The same of the datagram process, whose sockets are none but those of UDP.
FREE_DATAGRAMS = {"recvmmsg": "receives", "recvmmsg_time64": "the same on 32 bits",
                  "sendmmsg": "answers", "sigreturn": "changes its own registers"}

# What they let through with these arguments alone.
BOUND = {
    "clock_gettime, INT(0, CLOCK_MONOTONIC)": "the time since the boot",
    "clock_gettime64, INT(0, CLOCK_MONOTONIC)": "the same on 32 bits",
    "setitimer, INT(0, ITIMER_REAL)": "SIGALRM for itself",
    "ioctl, INT(1, SIOCOUTQ)": "bytes of its own that were not taken",
    "ioctl, INT(1, SIOCOUTQNSD)": "the same",
    "setsockopt, INT(1, SOL_SOCKET), INT(2, SO_RCVTIMEO)": "how long it waits",
    "setsockopt, INT(1, SOL_SOCKET), INT(2, SO_SNDTIMEO)": "the same",
    "setsockopt, INT(1, SOL_SOCKET), INT(2, SO_OOBINLINE)": "urgent data in its place",
    "setsockopt, INT(1, IPPROTO_TCP), INT(2, TCP_USER_TIMEOUT)": "how long its peer may be silent",
    "getsockopt, INT(1, SOL_SOCKET), INT(2, SO_ERROR)": "what happened to its connection",
    "getsockopt, INT(1, SOL_SOCKET), INT(2, SO_PEERCRED)": "who its peer is",
    "getsockopt, INT(1, SOL_SOCKET), INT(2, SO_PROTOCOL)": "what it is",
    "getsockopt, INT(1, IPPROTO_TCP), INT(2, TCP_INFO)": "how it is",
    "madvise, INT(2, MADV_DONTNEED)": "gives memory back",
    "madvise, INT(2, MADV_DOFORK)": "it has no children",
    "madvise, INT(2, MADV_DONTFORK)": "the same",
    "close_range, INT(2, 0)": "lets go",
    "prlimit64, INT(0, 0), INT(1, RLIMIT_NPROC)": "see refuse_fork()",
    "seccomp, INT(0, SECCOMP_SET_MODE_FILTER), INT(1, 0)": "can do even less",
    "prctl, INT(0, PR_SET_PDEATHSIG), INT(1, SIGKILL)": "ends with its parent",
    "clone, MASKED(CLONE_FLAGS, ~(uint64_t)CSIGNAL, CLONE_PARENT_SETTID)": "see refuse_fork()",
}

# Of user-space probes: the kernel lets its own code call them past any filter, others get an error.
PROBES = {335, 336} if platform.machine() == "x86_64" else set()

_seccomp = ctypes.CDLL("libseccomp.so.2")


def number_of(name):
    """The number of a system call; one below zero where the architecture has none."""
    number = getattr(WIRE, "SYS_" + name, None)
    return _seccomp.seccomp_syscall_resolve_name(name.encode()) if number is None else number


class Killed(Exception):
    """The worker is gone."""


class Puppet:
    """The peer of one worker that does as it is told."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(DEADLINE_S)
        self.scratch = self.slot = self.word = self.settings = 0
        self.bytes = b""
        self.order(CALL, number_of("getpid"))

    def order(self, order, number, *arguments, scratch=b""):
        """One command; its result, or Killed."""
        padded = [*(argument if argument < 1 << 63 else argument - (1 << 64)
                    for argument in arguments), *[0] * (6 - len(arguments))]
        try:
            self.sock.sendall(COMMAND.pack(MAGIC, order, number, *padded, scratch))
            data = read_exactly(self.sock, ANSWER.size)
        except ConnectionError as error:
            raise Killed from error
        if len(data) < ANSWER.size:
            raise Killed
        result, self.scratch, self.slot, self.word, self.settings, self.bytes = ANSWER.unpack(data)
        return result

    def call(self, name, *arguments, scratch=b""):
        """A system call by its name."""
        return self.order(CALL, number_of(name), *arguments, scratch=scratch)


@contextlib.contextmanager
def hostile(mode, listen=("127.0.0.1:0",), **settings):
    """echod whose workers are puppets."""
    settings = {"sandbox": mode, "log": {"max-per-second": 0}, **settings}
    listener = program("tests/run/hostile-echod-listener")
    with Echod(settings, listen=listen, env={"ECHOD_LISTENER": listener}) as echod:
        yield echod


def each_mode(*modes):
    """Registers a case for each mode of the sandbox; it gets an echod in that mode."""
    def register(function):
        def run(mode):
            if is_defined("INSTRUMENTED"):
                note("this build has next to no filter")
                return
            with hostile(mode) as echod:
                function(echod, mode)
        for mode in modes or MODES:
            case(f"{function.__doc__} ({mode})")(lambda mode=mode: run(mode))
        return function
    return register


def is_killed(echod, *arguments, **keywords):
    """True when the call ends the worker that makes it."""
    with echod.connect() as sock:
        puppet = Puppet(sock)
        arguments = [argument(puppet) if callable(argument) else argument for argument in arguments]
        try:
            result = puppet.call(*arguments, **keywords)
        except Killed:
            return True
        note(f"{arguments}: {result}")
        return False


def scratch(puppet):
    """For an argument that is the address of the worker's scratch."""
    return puppet.scratch


def clone(flags, word=scratch):
    """clone() with these flags, which are its second argument on s390 (clone(2))."""
    first = (0, flags) if IS_S390 else (flags, 0)
    return ("clone", *first, word, 0, 0)


@each_mode()
def test_all_numbers(echod, mode):
    """every number of a system call ends the worker, but for those that are known to be harmless"""
    answered = set()
    for number in set(range(CALLS)) - PROBES:
        with echod.connect() as sock:
            puppet = Puppet(sock)
            with contextlib.suppress(Killed):
                puppet.order(CALL, number, *[-1] * 6)
                answered.add(number)
    free = FREE_AUTO if mode == "auto" else FREE
    # these two end it, in their own way
    expected = {number_of(name) for name in free} - {number_of("exit_group"),
                                                      number_of("rt_sigreturn")}
    names = {number_of(name): name for name in free}
    assert answered == {number for number in expected if number >= 0}, (
        sorted(answered - expected), [names[number] for number in expected - answered])


def rules():
    """The calls that the table of the filters lets through, each as (macro, arguments)."""
    with open(SRCDIR + "/src/echod/generation/filter.c", encoding="utf-8") as file:
        table = re.search(r"^\} calls\[\] = \{\n(.*?)^\};", file.read(), re.M | re.S)[1]
    table = re.sub(r"/\*.*?\*/", "", table, flags=re.S)
    found = re.findall(r"^\t(\w+)(?:\((.*)\))?,$", table, re.M)
    assert len(found) == table.count("CALL"), table
    return found


@case("no rule of the filters is there without a reason why it hurts nobody")
def test_rules():
    bound = set()
    for macro, arguments in rules():
        name, _, rest = arguments.partition(", ")
        if macro == "CALL_WITH":
            bound.add(f"{name}, {rest.partition(', ')[2]}")
        elif macro == "CALL":
            assert name in FREE_AUTO or name in FREE_DATAGRAMS, name
            assert name in FREE_AUTO or "WORKER" not in rest and "LISTENER" not in rest or \
                name == "sigreturn", (name, rest)
        else:   # see test_memory() and pass_descriptors()
            assert macro == "CALL_MMAP" or (macro == "CALLS_ON_SOCKETS" and
                                            name in FREE_DATAGRAMS), (macro, name)
    assert bound == set(BOUND), bound ^ set(BOUND)


@each_mode()
def test_abi(echod, _mode):
    """nor is there a way around by the numbers of another architecture"""
    if platform.machine() != "x86_64":
        note("this one has no other")
        return
    getpid, kill, socketcall = 20, 37, 102      # of a program of 32 bits
    for order, number in ((CALL, X32 | number_of("getpid")), (CALL, X32 | number_of("socket")),
                          (CALL_32, getpid), (CALL_32, kill), (CALL_32, socketcall)):
        with echod.connect() as sock:
            puppet = Puppet(sock)
            try:
                result = puppet.order(order, number, os.getpid(), signal.SIGTERM)
            except Killed:
                continue
            raise AssertionError((order, number, result))


def signalling(pid):
    """Ways to direct a signal at a process, or to ask whether it lives."""
    pid_word = struct.pack("=i", pid)
    return [("ioctl", 0, FIOSETOWN, scratch), ("ioctl", 0, SIOCSPGRP, scratch),
            ("ioctl", 0, termios.FIOASYNC, scratch), ("ioctl", 0, termios.FIONBIO, scratch),
            ("ioctl", 0, FIOSETOWN | 1 << 32, scratch),
            ("fcntl", 0, fcntl.F_SETOWN, pid), ("fcntl", 0, F_SETSIG, signal.SIGKILL),
            ("fcntl", 0, fcntl.F_SETFL, os.O_ASYNC), ("fcntl", 0, fcntl.F_GETOWN),
            ("kill", pid, 0), ("kill", -1, signal.SIGTERM), ("tkill", pid, signal.SIGTERM),
            ("tgkill", pid, pid, signal.SIGTERM), ("rt_sigqueueinfo", pid, signal.SIGTERM, scratch),
            ("rt_tgsigqueueinfo", pid, pid, signal.SIGTERM, scratch), ("pidfd_open", pid, 0),
            ("pidfd_send_signal", 0, signal.SIGTERM, 0, 0), ("timer_create", 0, scratch, scratch),
            ("setitimer", 1, scratch, 0), ("setpgid", 0, pid), ("getpgid", pid), ("getsid", pid),
            ("getpriority", 0, pid), ("setpriority", 0, pid, 19), ("sched_getparam", pid, scratch),
            ("sched_setscheduler", pid, 0, scratch), ("sched_getaffinity", pid, 8, scratch),
            ("prlimit64", pid, resource.RLIMIT_NPROC, 0, scratch), ("get_robust_list", pid, scratch,
                                                                    scratch),
            # a clock of that process: ~pid << 3 | CPUCLOCK_SCHED
            ("clock_gettime", ~pid << 3 | 2, scratch), ("clock_gettime", 0, scratch),
            ("clock_gettime", 2, scratch), ("clock_getres", ~pid << 3 | 2, scratch),
            ("prctl", 1, signal.SIGTERM), ("waitid", 0, pid, scratch, 4),
            ("kcmp", pid, pid, 0, 0, 0)], pid_word


@each_mode()
def test_signals(echod, _mode):
    """no call directs a signal at a process, or tells which ones live"""
    calls, word = signalling(echod.pid)
    for call in calls:
        if number_of(call[0]) >= 0:
            assert is_killed(echod, *call, scratch=word), call
    assert exchange(echod.connect(), b"still here") == b"still here"


@each_mode()
def test_children(echod, mode):
    """no call makes a process or a thread"""
    ways = [signal.SIGCHLD, 0, CLONE_PARENT | signal.SIGCHLD, CLONE_VM | signal.SIGCHLD,
            CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, CLONE_NEWUSER | signal.SIGCHLD,
            CLONE_PIDFD | CLONE_PARENT_SETTID | signal.SIGCHLD,
            CLONE_PARENT_SETTID | CLONE_PARENT | signal.SIGCHLD]
    for flags in ways:
        assert is_killed(echod, *clone(flags)), hex(flags)
    for call in (("fork",), ("vfork",), ("clone3", scratch, 64), ("execve", scratch, 0, 0),
                 ("execveat", -1, scratch, 0, 0, 0), ("unshare", CLONE_NEWUSER), ("setns", 0, 0)):
        if number_of(call[0]) >= 0:
            assert is_killed(echod, *call), call
    if mode == "strict":
        assert is_killed(echod, *clone(CLONE_PARENT_SETTID | signal.SIGCHLD))


def refuse_fork(echod):
    """clone() as the listener calls it, and all that could bring its limit back."""
    with echod.connect() as sock:
        puppet = Puppet(sock)
        for number in (signal.SIGRTMIN, signal.SIGCHLD, 0, signal.SIGKILL):
            result = puppet.call(*clone(CLONE_PARENT_SETTID | number, puppet.scratch))
            assert result == -errno.EAGAIN, result
        for limit in ((1, 1), (0, 1), ((1 << 64) - 1,) * 2):
            result = puppet.call("prlimit64", 0, resource.RLIMIT_NPROC, puppet.scratch, 0,
                                 scratch=struct.pack("=2Q", *limit))
            assert result == -errno.EPERM, (limit, result)
        result = puppet.call(*clone(CLONE_PARENT_SETTID | signal.SIGCHLD, puppet.scratch))
        assert result == -errno.EAGAIN, result
        echod.wait_workers(1)
    if number_of("setrlimit") >= 0 and not is_defined("INSTRUMENTED"):
        assert is_killed(echod, "setrlimit", resource.RLIMIT_NPROC, scratch)


@case("the listener's way to fork is closed to a worker by its own limit (auto)")
def test_fork_auto():
    with hostile("auto") as echod:
        refuse_fork(echod)


@case("a worker without a filter makes no process either (off)")
def test_fork_off():
    with hostile("off") as echod, echod.connect() as sock:
        puppet = Puppet(sock)
        for name, *arguments in (clone(signal.SIGCHLD, 0), ("fork",), ("vfork",)):
            if number_of(name) >= 0:
                assert puppet.call(name, *arguments) == -errno.EAGAIN, name


@each_mode()
def test_memory(echod, _mode):
    """no call maps or reads another process, a file, or makes memory executable"""
    pid, length = echod.pid, mmap.PAGESIZE
    private, data = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE
    for call in (("mmap", 0, length, data | mmap.PROT_EXEC, private, -1, 0),
                 ("mmap", 0, length, mmap.PROT_READ, mmap.MAP_SHARED, 0, 0),
                 ("mmap", 0, length, data, mmap.MAP_PRIVATE, 0, 0),
                 ("mmap", 0, length, data, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, -1, 0),
                 ("mprotect", lambda puppet: puppet.word & -length, length, data),
                 ("mprotect", lambda puppet: puppet.scratch & -length, length, mmap.PROT_EXEC),
                 ("pkey_mprotect", lambda puppet: puppet.word & -length, length, data, -1),
                 ("mremap", lambda puppet: puppet.word & -length, length, length, 1),
                 ("remap_file_pages", lambda puppet: puppet.word & -length, length, 0, 0, 0),
                 ("madvise", lambda puppet: puppet.slot & -length, length, MADV_REMOVE),
                 ("madvise", lambda puppet: puppet.scratch & -length, length, MADV_MERGEABLE),
                 ("madvise", lambda puppet: puppet.scratch & -length, length, MADV_PAGEOUT),
                 ("process_vm_readv", pid, scratch, 1, scratch, 1, 0),
                 ("process_vm_writev", pid, scratch, 1, scratch, 1, 0),
                 ("process_madvise", 0, scratch, 1, MADV_PAGEOUT, 0), ("ptrace", 16, pid, 0, 0),
                 ("pidfd_getfd", 0, 0, 0), ("memfd_create", scratch, 0), ("userfaultfd", 0),
                 ("shmget", 0, length, 0), ("move_pages", pid, 0, 0, 0, 0, 0),
                 ("io_uring_setup", 1, scratch), ("bpf", 0, scratch, 64),
                 ("perf_event_open", scratch, pid, -1, -1, 0)):
        # on s390 no filter sees the arguments of mmap()
        if number_of(call[0]) >= 0 and not (IS_S390 and call[0] == "mmap"):
            assert is_killed(echod, *call), call
    for order, what in ((WRITE, "word"), (WRITE, "settings")):
        with echod.connect() as sock:
            puppet = Puppet(sock)
            address = getattr(puppet, what)
            assert puppet.order(READ, address) is not None
            try:
                puppet.order(order, address, -1)
            except Killed:
                continue
            raise AssertionError(f"the {what} can be written")


@each_mode()
def test_paths(echod, _mode):
    """no call reaches a path, a socket or a descriptor that is not its own"""
    path = b"/etc/passwd"
    for call in (("open", scratch, 0), ("openat", -100, scratch, 0),
                 ("openat2", -100, scratch, scratch, 24), ("creat", scratch, 0o600),
                 ("unlink", scratch), ("unlinkat", -100, scratch, 0), ("stat", scratch, scratch),
                 ("newfstatat", -100, scratch, scratch, 0), ("statx", -100, scratch, 0, 0, scratch),
                 ("readlink", scratch, scratch, 64), ("access", scratch, 0),
                 ("chmod", scratch, 0o777), ("chdir", scratch), ("chroot", scratch),
                 ("mount", scratch, scratch, 0, 0, 0), ("mknod", scratch, 0, 0),
                 ("name_to_handle_at", -100, scratch, scratch, scratch, 0), ("inotify_init1", 0),
                 ("socket", 1, 1, 0), ("socketpair", 1, 1, 0, scratch), ("connect", 0, scratch, 16),
                 ("bind", 0, scratch, 16), ("listen", 0, 1), ("sendmsg", 0, scratch, 0),
                 ("sendmmsg", 0, scratch, 1, 0), ("recvmsg", 0, scratch, 0),
                 ("recvmmsg", 0, scratch, 1, 0, 0), ("dup", 0), ("dup3", 0, 5, 0),
                 ("pipe2", scratch, 0), ("splice", 0, 0, 0, 0, 1, 0), ("write", 0, scratch, 1),
                 ("writev", 0, scratch, 1), ("sendfile", 0, 0, 0, 1),
                 ("vmsplice", 0, scratch, 1, 0), ("fstat", 0, scratch),
                 ("keyctl", 0, 0), ("add_key", scratch, scratch, 0, 0, 0),
                 ("quotactl", 0, 0, 0, 0), ("syslog", 3, scratch, 64), ("seccomp", 0, 0, scratch),
                 ("seccomp", 1, 0, scratch), ("capset", scratch, scratch), ("setuid", 0),
                 ("setresuid", 0, 0, 0), ("personality", 0), ("arch_prctl", 0x1001, 0),
                 ("reboot", 0, 0, 0), ("close_range", 0, 0, 2), ("close_range", 1, -1, 4)):
        if number_of(call[0]) >= 0:
            assert is_killed(echod, *call, scratch=path), call


@each_mode()
def test_options(echod, _mode):
    """of a socket's options it has those that a worker needs, and no other"""
    tcp = socket.IPPROTO_TCP
    for call in (("getsockopt", 0, socket.SOL_SOCKET, SO_PEERPIDFD, scratch, scratch),
                 ("getsockopt", 0, socket.SOL_SOCKET, socket.SO_PEERSEC, scratch, scratch),
                 ("getsockopt", 0, tcp, TCP_CONGESTION, scratch, scratch),
                 ("setsockopt", 0, socket.SOL_SOCKET, SO_ATTACH_BPF, scratch, 4),
                 ("setsockopt", 0, socket.SOL_SOCKET, socket.SO_PASSCRED, scratch, 4),
                 ("setsockopt", 0, socket.SOL_SOCKET, socket.SO_RCVBUF, scratch, 4),
                 ("setsockopt", 0, socket.SOL_SOCKET, socket.SO_MARK, scratch, 4),
                 ("setsockopt", 0, tcp, TCP_ULP, scratch, 3),
                 ("setsockopt", 0, tcp, TCP_CONGESTION, scratch, 3),
                 ("setsockopt", 0, tcp, 19, scratch, 4),        # TCP_REPAIR
                 ("setsockopt", 0, socket.IPPROTO_IP, 1, scratch, 4),
                 ("ioctl", 0, termios.FIONREAD, scratch), ("ioctl", 0, SIOCATMARK, scratch)):
        assert is_killed(echod, *call), call
    with echod.connect() as sock:
        puppet = Puppet(sock)
        assert puppet.call("ioctl", 0, termios.TIOCOUTQ, puppet.scratch) == 0
        assert puppet.call("setsockopt", 0, socket.SOL_SOCKET, socket.SO_OOBINLINE, puppet.scratch,
                           4) == 0
        assert puppet.call("clock_gettime", 1, puppet.scratch) == 0


@each_mode()
def test_addresses(echod, _mode):
    """a connection that is over is not made one to another address"""
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        address = struct.pack("=H", socket.AF_INET) + struct.pack(
            "!H4s8x", elsewhere.getsockname()[1], socket.inet_aton("127.0.0.1"))
        for half in (None, socket.SHUT_RD, socket.SHUT_RDWR):
            with echod.connect() as sock:
                puppet = Puppet(sock)
                with contextlib.suppress(Killed):
                    if half is not None:
                        puppet.call("shutdown", 0, half)
                    result = puppet.call("sendto", 0, puppet.scratch, 16, MSG_FASTOPEN,
                                         puppet.scratch, 16, scratch=address)
                    assert result < 0, result
        assert not select.select([elsewhere], [], [], 0)[0]


def pass_descriptors(mode):
    """The calls of the datagram process, on the worker's connection, and where its sockets were."""
    if is_defined("INSTRUMENTED"):
        note("this build has next to no filter")
        return
    with hostile(mode, ("127.0.0.1:0", "udp:127.0.0.1:0")) as echod:
        for name in ("recvmmsg", "sendmmsg", "recvmsg", "sendmsg"):
            for fd in (0, 3, 7, 1 << 32, 8 << 32, 0x80):
                assert is_killed(echod, name, fd, scratch, 1, socket.MSG_DONTWAIT), (name, fd)
        for call in (("prctl", 1, signal.SIGTERM), ("prctl", 4, 0), ("prctl", 15, scratch),
                     ("prctl", 24, 0), ("prctl", 0x59616d61, echod.pid)):
            assert is_killed(echod, *call), call
        for name in ("recvmmsg", "sendmmsg"):
            if mode == "strict":
                assert is_killed(echod, name, 8, scratch, 1, socket.MSG_DONTWAIT), name
                continue
            with echod.connect() as sock:
                puppet = Puppet(sock)
                for fd in (*range(8, 64), -1):
                    result = puppet.call(name, fd, puppet.scratch, 1, socket.MSG_DONTWAIT)
                    assert result == -errno.EBADF, (name, fd, result)


for each in MODES:
    case(f"a datagram process beside it gives a worker no call that passes descriptors ({each})")(
        lambda each=each: pass_descriptors(each))


@each_mode("auto", "strict", "off")
def test_log(echod, _mode):
    """a worker that pretends to have got no byte is in the log like any other"""
    slot = Struct("slot")
    with echod.connect() as empty, echod.connect() as sock:
        puppet = Puppet(sock)
        # neither its own proof is to be found, nor is that of another one worth anything
        assert puppet.order(READ, puppet.slot + slot.at("proof")) == 0
        empty.shutdown(socket.SHUT_WR)
        assert empty.recv(1) == b""
        proof = 0
        while not proof:
            proof = puppet.order(READ, puppet.slot - slot.size + slot.at("proof"))
        for guess in (0, proof):
            with echod.connect() as other, contextlib.suppress(Killed):
                peer = other.getsockname()
                Puppet(other).order(VANISH, 0, guess)
            line = echod.wait_log(rf"closed .*peer={re.escape(peer[0])}:{peer[1]} .*bytes-in=0 ")
            note(line[0].string)
        assert not any(f":{empty.getsockname()[1]} " in line for line in echod.log())


main()
