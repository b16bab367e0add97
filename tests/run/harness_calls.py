# SPDX-License-Identifier: MIT
"""System calls of a process and its children, seen before the kernel acts on them.

A seccomp filter hands the chosen calls over to this process (seccomp_unotify(2)), which answers
with an error or lets them go on. Nothing else on the machine notices. Denials is a kernel that
refuses what a test says; Writes judges whether a process may have to wait for another.
"""
import contextlib
import ctypes
import fcntl
import os
import platform
import select
import socket
import stat
import struct
import threading

from harness_tap import DEADLINE_S, Skip, wait_until

NUMBERS = {"x86_64": {"accept4": 288, "clone": 56, "mmap": 9, "epoll_wait": 232,
                      "pidfd_open": 434, "write": 1, "writev": 20, "close_range": 436,
                      "sendto": 44, "sendmsg": 46, "sendmmsg": 307, "splice": 275, "seccomp": 317,
                      "any seccomp": 317, "memfd_create": 319, "landlock_create_ruleset": 444},
           "i686": {"accept4": 364, "clone": 120, "mmap": 192, "epoll_wait": 256,
                    "pidfd_open": 434, "write": 4, "writev": 146, "close_range": 436,
                    "sendto": 369, "sendmsg": 370, "sendmmsg": 345, "splice": 313, "seccomp": 354,
                    "any seccomp": 354, "memfd_create": 356, "landlock_create_ruleset": 444},
           "aarch64": {"accept4": 242, "clone": 220, "mmap": 222, "epoll_wait": 22,
                       "pidfd_open": 434, "write": 64, "writev": 66, "close_range": 436,
                       "sendto": 206, "sendmsg": 211, "sendmmsg": 269, "splice": 76, "seccomp": 277,
                       "any seccomp": 277, "memfd_create": 279, "landlock_create_ruleset": 444}}
# libc of i386 makes these by socketcall(2): its first argument says which, the second where theirs
# are.
SOCKETCALL, SOCKETCALLS = 102, {11: "sendto", 16: "sendmsg", 18: "accept4"}
FILTER, INT = struct.Struct("<HBBI"), struct.Struct("i")
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06     # of struct sock_filter, see linux/bpf_common.h
ALLOW, USER_NOTIF = 0x7FFF0000, 0x7FC00000
ARGUMENTS_AT = 16   # in struct seccomp_data, of 8 bytes each
HANDOVER_FD = 200   # where the filter itself is sent from; nothing done there is asked about
NOTIFICATION = struct.Struct("<QIIiIQ6Q")
ANSWER = struct.Struct("<QqiI")
RECEIVE, SEND = 0xC0502100, 0xC0182101      # SECCOMP_IOCTL_NOTIF_...
CONTINUE = 1
# Of some calls only these, by argument and value: large buffers; and filters, as the listener
# installs them, not what libseccomp asks.
WHERE = {"mmap": ((1, 1 << 20),), "seccomp": ((0, 1), (1, 0))}
PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER, NEW_LISTENER = 38, 1, 8


class Calls:
    """
    names: of the calls. install() runs in the child that is to execute a program, serve() in the
    parent afterwards.
    """

    def __init__(self, *names):
        if platform.machine() not in NUMBERS:
            raise Skip(f"no system call numbers of {platform.machine()} here")
        self._numbers = {NUMBERS[platform.machine()][name]: name for name in names}
        if platform.machine() == "i686" and set(names) & set(SOCKETCALLS.values()):
            self._numbers[SOCKETCALL] = "socketcall"
        self._ours, self._theirs = socket.socketpair()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._is_over = threading.Event()
        self._thread = None

    def decide(self, name, pid, arguments):
        """The error number that the call fails with, 0: it goes on."""
        raise NotImplementedError

    def _program(self):
        code = [FILTER.pack(LOAD, 0, 0, ARGUMENTS_AT),
                FILTER.pack(JUMP_EQUAL, 0, 1, HANDOVER_FD), FILTER.pack(RETURN, 0, 0, ALLOW)]
        for number, name in self._numbers.items():
            code.append(FILTER.pack(LOAD, 0, 0, 0))
            where = WHERE.get(name, ())
            code.append(FILTER.pack(JUMP_EQUAL, 0, 1 + 2 * len(where), number))
            for left, (argument, value) in enumerate(where):
                code += [FILTER.pack(LOAD, 0, 0, ARGUMENTS_AT + 8 * argument),
                         FILTER.pack(JUMP_EQUAL, 0, 1 + 2 * (len(where) - 1 - left), value)]
            code.append(FILTER.pack(RETURN, 0, 0, USER_NOTIF))
        return b"".join([*code, FILTER.pack(RETURN, 0, 0, ALLOW)])

    def install(self):
        """The filter for this process and those to come; the parent gets its descriptor."""
        program = self._program()
        buffer = ctypes.create_string_buffer(program)
        header = struct.pack("HP", len(program) // FILTER.size, ctypes.addressof(buffer))
        os.dup2(self._theirs.fileno(), HANDOVER_FD, inheritable=False)
        self._libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        fd = self._libc.syscall(NUMBERS[platform.machine()]["seccomp"], SECCOMP_SET_MODE_FILTER,
                                NEW_LISTENER, header)
        self._hand_over(fd)

    def _hand_over(self, fd):
        """By the system call itself: libc's sendmsg() may be one that the filter asks about."""
        byte = ctypes.create_string_buffer(b"x" if fd >= 0 else b"-")
        vector = ctypes.create_string_buffer(struct.pack("PN", ctypes.addressof(byte), 1))
        rights = struct.pack("Nii", socket.CMSG_LEN(INT.size), socket.SOL_SOCKET, socket.SCM_RIGHTS)
        control = ctypes.create_string_buffer(rights + INT.pack(fd), socket.CMSG_SPACE(INT.size))
        header = struct.pack("PIPNPNi", 0, 0, ctypes.addressof(vector), 1,
                             ctypes.addressof(control), len(control) if fd >= 0 else 0, 0)
        self._libc.syscall(NUMBERS[platform.machine()]["sendmsg"], HANDOVER_FD, header, 0)
        os.close(HANDOVER_FD)

    def serve(self):
        """Answers from now on."""
        self._ours.settimeout(DEADLINE_S)
        data, fds, _, _ = socket.recv_fds(self._ours, 1, 1)
        if data != b"x":
            raise Skip("the kernel hands no system calls over to a process")
        self._thread = threading.Thread(target=self._answer, args=(fds[0],), daemon=True)
        self._thread.start()

    def _answer(self, fd):
        while not self._is_over.is_set():
            if not select.select([fd], [], [], 0.1)[0]:
                continue
            with contextlib.suppress(OSError):      # who asked has died
                notification = bytearray(NOTIFICATION.size)
                fcntl.ioctl(fd, RECEIVE, notification)
                identity, pid, _, number, _, _, *arguments = NOTIFICATION.unpack(notification)
                error = self._decide(self._numbers[number], pid, arguments)
                fcntl.ioctl(fd, SEND, ANSWER.pack(identity, 0, -error, 0 if error else CONTINUE))
        os.close(fd)

    def _decide(self, name, pid, arguments):
        if name == "socketcall":
            name = SOCKETCALLS.get(arguments[0])
            if name not in self._numbers.values():
                return 0
            with open(f"/proc/{pid}/mem", "rb") as memory:
                memory.seek(arguments[1])
                arguments = struct.unpack("=4I", memory.read(16))
        return self.decide(name, pid, arguments)

    def close(self):
        """After the end of the processes."""
        self._is_over.set()
        if self._thread:
            self._thread.join(DEADLINE_S)
        self._ours.close()
        self._theirs.close()


class Denials(Calls):
    """Calls that fail while a test says so."""

    def __init__(self, *names):
        super().__init__(*names)
        self._errors = {}
        self.denied = dict.fromkeys(names, 0)

    def decide(self, name, pid, arguments):
        error = self._errors.get(name, 0)
        self.denied[name] += error != 0
        return error

    def deny(self, name, error):
        """From now on the call fails with this error number."""
        self._errors[name] = error

    def allow(self):
        """All calls go on again."""
        self._errors.clear()

    def wait_denied(self, name, count):
        """Waits until so many calls have failed."""
        wait_until(lambda: self.denied[name] >= count, f"{name} has failed {count} times")


class Writes(Calls):
    """What echod writes to pipes, terminals and sockets: another process can hold them back.

    pid, the supervisor's, is to be set before serve(). seen: the kinds of its writes, and of those
    of its listener and datagram process; waiting: the ones that would wait for room.
    """
    MSG_DONTWAIT, SPLICE_F_NONBLOCK = 0x40, 2
    # Which argument is the descriptor, which are the flags of the call and which of them counts.
    WHERE = {"write": (0, None, 0), "writev": (0, None, 0), "sendto": (0, 3, MSG_DONTWAIT),
             "sendmsg": (0, 2, MSG_DONTWAIT), "sendmmsg": (0, 3, MSG_DONTWAIT),
             "splice": (2, 5, SPLICE_F_NONBLOCK)}

    def __init__(self):
        super().__init__(*self.WHERE)
        self.pid = None
        self.seen = set()
        self.waiting = []

    def decide(self, name, pid, arguments):
        # a worker, which has one descriptor, waits for its peer alone
        if pid != self.pid and len(os.listdir(f"/proc/{pid}/fd")) == 1:
            return 0
        descriptor, flags, bit = self.WHERE[name]
        path = f"/proc/{pid}/fd/{arguments[descriptor]}"
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode) or os.readlink(path).startswith(("anon_inode:", "/dev/null")):
            return 0
        self.seen.add(f"{name} {stat.filemode(mode)[0]}")
        with open(path.replace("/fd/", "/fdinfo/"), encoding="ascii") as file:
            is_nonblocking = int(dict(line.split(":", 1) for line in file)["flags"], 8) & \
                os.O_NONBLOCK
        if not is_nonblocking and not (flags and arguments[flags] & bit):
            self.waiting.append(f"{name} to {os.readlink(path)}")
        return 0
