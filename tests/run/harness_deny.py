# SPDX-License-Identifier: MIT
"""A kernel that refuses: system calls of a process and its children that fail when a test says so.

A seccomp filter hands the chosen calls over to this process (seccomp_unotify(2)), which answers
with an error or lets them go on. Nothing else on the machine notices.
"""
import contextlib
import ctypes
import fcntl
import os
import platform
import select
import socket
import struct
import threading

from harness_tap import DEADLINE_S, Skip, wait_until

NUMBERS = {"x86_64": {"accept4": 288, "clone": 56, "mmap": 9, "epoll_wait": 232,
                      "pidfd_open": 434},
           "aarch64": {"accept4": 242, "clone": 220, "mmap": 222, "epoll_wait": 22,
                       "pidfd_open": 434}}
FILTER = struct.Struct("<HBBI")
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06     # of struct sock_filter, see linux/bpf_common.h
ALLOW, USER_NOTIF = 0x7FFF0000, 0x7FC00000
LENGTH_AT = 24      # the second argument in struct seccomp_data
NOTIFICATION = struct.Struct("<QIIiIQ6Q")
ANSWER = struct.Struct("<QqiI")
RECEIVE, SEND = 0xC0502100, 0xC0182101      # SECCOMP_IOCTL_NOTIF_...
CONTINUE = 1
PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER, NEW_LISTENER = 38, 1, 8
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}


class Denials:
    """
    calls: their names; mmap_length: only mappings of that size are asked about. install() runs
    in the child that is to execute a program, serve() in the parent afterwards.
    """

    def __init__(self, *calls, mmap_length=1 << 20):
        if platform.machine() not in NUMBERS:
            raise Skip(f"no system call numbers of {platform.machine()} here")
        self._numbers = {NUMBERS[platform.machine()][name]: name for name in calls}
        self._mmap_length = mmap_length
        self._errors = {}
        self._ours, self._theirs = socket.socketpair()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.denied = dict.fromkeys(calls, 0)
        self._is_over = threading.Event()
        self._thread = None

    def _program(self):
        code = []
        for number, name in self._numbers.items():
            code.append(FILTER.pack(LOAD, 0, 0, 0))
            if name == "mmap":
                code += [FILTER.pack(JUMP_EQUAL, 0, 3, number),
                         FILTER.pack(LOAD, 0, 0, LENGTH_AT),
                         FILTER.pack(JUMP_EQUAL, 0, 1, self._mmap_length)]
            else:
                code.append(FILTER.pack(JUMP_EQUAL, 0, 1, number))
            code.append(FILTER.pack(RETURN, 0, 0, USER_NOTIF))
        return b"".join([*code, FILTER.pack(RETURN, 0, 0, ALLOW)])

    def install(self):
        """The filter for this process and those to come; the parent gets its descriptor."""
        program = self._program()
        buffer = ctypes.create_string_buffer(program)
        header = struct.pack("HP", len(program) // FILTER.size, ctypes.addressof(buffer))
        self._libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        fd = self._libc.syscall(SYS_SECCOMP[platform.machine()], SECCOMP_SET_MODE_FILTER,
                                NEW_LISTENER, header)
        socket.send_fds(self._theirs, [b"x" if fd >= 0 else b"-"], [fd] if fd >= 0 else [])

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
                identity, _, _, number = NOTIFICATION.unpack(notification)[:4]
                name = self._numbers[number]
                error = self._errors.get(name, 0)
                self.denied[name] += error != 0
                fcntl.ioctl(fd, SEND, ANSWER.pack(identity, 0, -error, 0 if error else CONTINUE))
        os.close(fd)

    def deny(self, name, error):
        """From now on the call fails with this error number."""
        self._errors[name] = error

    def allow(self):
        """All calls go on again."""
        self._errors.clear()

    def wait_denied(self, name, count):
        """Waits until so many calls have failed."""
        wait_until(lambda: self.denied[name] >= count, f"{name} has failed {count} times")

    def close(self):
        """After the end of the processes."""
        self._is_over.set()
        if self._thread:
            self._thread.join(DEADLINE_S)
        self._ours.close()
        self._theirs.close()
