# SPDX-License-Identifier: MIT
"""echod-listener alone: this process plays the supervisor, with the formats of src/wire."""
import contextlib
import fcntl
import mmap
import os
import re
import resource
import select
import signal
import socket
import struct
import time

from harness_tap import BUILDDIR, DEADLINE_S, SRCDIR

PROGRAM = os.environ.get("ECHOD_LISTENER") or os.path.join(BUILDDIR, "echod-listener")

SETTINGS = struct.Struct("<4I 8I 3Q 6I")
SOCKET = struct.Struct("<BBHI16s")
RULE = struct.Struct("<16sBB6x")
EVENT = struct.Struct("<2I5Q2i3I2H2I24s24s")
MESSAGE = struct.Struct("<2I56s")
END_ROOM, REFUSE_ROOM = 24, 12
ENDS = ["fin", "idle", "stall", "session", "reset", "drain", "killed", "crashed", "error"]
REFUSALS = ["connections", "connections-per-source", "rate-per-source", "access"]
TOTALS = ["accepted",
          *ENDS, *(f"end-{number}" for number in range(len(ENDS), END_ROOM)),
          *(f"refuse-{name}" for name in REFUSALS),
          *(f"refuse-{number}" for number in range(len(REFUSALS), REFUSE_ROOM)),
          "bytes-in", "bytes-out", "empty", "events-dropped", "starved"]
LIVE, FOREIGN_LIVE, ASLEEP = 16, 20, 24
RING_EVENTS, TABLE_HEAD, RING_HEAD, RING_TAIL, TOTALS_AT = 4096, 256, 64, 128, 192
FORK_BUCKETS, DURATION_BUCKETS = 24, 32
RING_AT = (TOTALS_AT + 8 * (len(TOTALS) + FORK_BUCKETS + 1 + DURATION_BUCKETS + 1) + 63) // 64 * 64
UNIX_PATHS_BYTES = 64 * 112
ENTRIES_AT = (RING_AT + RING_EVENTS * 128 + UNIX_PATHS_BYTES + 63) // 64 * 64
with open(os.path.join(SRCDIR, "src/wire/version.h"), encoding="utf-8") as header:
    WIRE_VERSION = int(re.search(r"WIRE_VERSION (\d+)u", header.read())[1])
READY, FAILED, WAKE, STOPPED, PONG, STOP, PING = 1, 2, 3, 4, 5, 32, 33
OPENED, CLOSED, REFUSED, STARVED, LIMIT = 1, 2, 3, 4, 5
FIELDS = ("type", "slot", "id", "start_ns", "end_ns", "bytes_in", "bytes_out", "pid", "status",
          "cpu_us", "rtt_us", "retransmits", "reason", "socket", "detail", "count", "peer", "local")
UNUSED_UID = 20000 + os.getpid() % 40000     # its processes are counted: nobody else may be it
FAMILIES = {socket.AF_INET: 4, socket.AF_INET6: 6, socket.AF_UNIX: 1}


def memory_file(name, data, seal=False):
    """A memory file with these bytes; sealed against every change when seal is true."""
    fd = os.memfd_create("test-" + name, os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    if seal:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK |
                    fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return fd


def describe(listening):
    """struct settings_socket of a listening socket."""
    address = b""
    port = 0
    if listening.family != socket.AF_UNIX:
        host, port = listening.getsockname()[:2]
        address = socket.inet_pton(listening.family, host)
    return SOCKET.pack(FAMILIES[listening.family], not any(address) and port != 0, port, 0, address)


def settings_block(sockets, version=WIRE_VERSION, magic=0x65636864, rules=(),
                   filters=(b"", b""), **keys):
    """The block; keys are those of struct settings, times in seconds."""
    tables = b"".join(sockets) + b"".join(RULE.pack(*rule) for rule in rules) + b"".join(filters)
    flags = keys.get("flags", 0)
    return SETTINGS.pack(
        magic, version, SETTINGS.size + len(tables), flags, keys.get("mode", 0),
        keys.get("at_limit", 0), keys.get("connections", 64),
        keys.get("connections_per_source", 0), keys.get("source_prefix_ipv4", 32),
        keys.get("source_prefix_ipv6", 64), keys.get("rate_per_source", 0),
        keys.get("rate_burst", 1),
        *(int(keys.get(name, 0) * 1e6) for name in ("idle", "stall", "session")),
        keys.get("access_default_allow", 1), len(sockets), len(rules), len(filters[0]) // 8,
        len(filters[1]) // 8, 0) + tables


def start(descriptors, nproc, denials):
    """
    Forks and executes the listener with exactly these descriptors from 3 on; nproc > 0: as a
    user of its own that may have so many processes; denials: calls that may fail, or None.
    """
    pid = os.fork()
    if pid != 0:
        return pid
    try:
        if denials:     # its socket is closed below
            denials.install()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 256) for fd in descriptors]
        for number, fd in enumerate(high):
            os.dup2(fd, 3 + number)
        os.closerange(3 + len(high), 1024)
        # opened before the user changes, who need not be let into this folder
        listener = os.open(PROGRAM, os.O_RDONLY)
        if nproc > 0:
            resource.setrlimit(resource.RLIMIT_NPROC, (nproc, nproc))
            os.setresuid(UNUSED_UID, UNUSED_UID, UNUSED_UID)
        # a sanitizer's own exit status would be read as the end of a connection
        os.execve(listener, ["echod-listener"], {"ASAN_OPTIONS": "abort_on_error=1",
                                                "UBSAN_OPTIONS": "abort_on_error=1"})
    finally:
        os._exit(127)


class Listener:
    """A listener process, its scoreboard and its channel; ended by the with statement."""

    def __init__(self, families=(socket.AF_INET,), sockets=None, block=None, nproc=0, denials=None,
                 **keys):
        self.sockets = sockets if sockets is not None else [self.listen(f) for f in families]
        block = block or settings_block([describe(s) for s in self.sockets], **keys)
        self.slots_count = SETTINGS.unpack_from(block)[6]
        table_bytes = ENTRIES_AT + 128 * self.slots_count
        head = struct.pack("<7I", 0x65636874, WIRE_VERSION, self.slots_count, 0, 0, 0, 1)
        files = [memory_file("settings", block, keys.get("seal", True)),
                 memory_file("table", head + bytes(table_bytes - len(head))),
                 memory_file("slots", bytes(64 * self.slots_count)),
                 memory_file("commands", bytes(8 * self.slots_count))]
        self.table = mmap.mmap(files[1], table_bytes)
        self.slots = mmap.mmap(files[2], 64 * self.slots_count)
        self.commands = mmap.mmap(files[3], 8 * self.slots_count)
        files.append(os.open(f"/proc/self/fd/{files[3]}", os.O_RDONLY))
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(DEADLINE_S)
        self.status = None
        self.events = []
        self.pid = start([*files[:3], files[4], theirs.fileno(),
                          *(s.fileno() for s in self.sockets)], nproc, denials)
        if denials:
            denials.serve()
        theirs.close()
        for fd in files:
            os.close(fd)

    @staticmethod
    def listen(family):
        """A listening socket at a free port, or at an abstract name."""
        listening = socket.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_UNIX:
            listening.bind("")
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        listening.listen(4096)
        return listening

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        for listening in self.sockets:
            listening.close()

    def message(self, *, skip=(WAKE,)):
        """The next message: type, value, text."""
        while True:
            data = self.channel.recv(256)
            if not data:
                raise EOFError("the listener has closed the channel")
            kind, value, text = MESSAGE.unpack(data)
            if kind not in skip:
                return kind, value, text.rstrip(b"\0").decode()

    def ready(self):
        """Waits until it accepts; returns itself."""
        message = self.message()
        assert message[0] == READY, message
        return self

    def send(self, kind, value=0):
        """Sends a message."""
        self.channel.send(MESSAGE.pack(kind, value, b""))

    def wait(self):
        """The exit status of the listener (negative: a signal)."""
        end = time.monotonic() + DEADLINE_S
        fd = os.pidfd_open(self.pid)
        select.select([fd], [], [], end - time.monotonic())
        os.close(fd)
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            raise TimeoutError("the listener has not ended")
        self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def connect(self, index=0):
        """A client connection to one of the sockets."""
        listening = self.sockets[index]
        client = socket.socket(listening.family, socket.SOCK_STREAM)
        client.settimeout(DEADLINE_S)
        client.connect(listening.getsockname())
        return client

    def word(self, offset, form="<I"):
        """A number of the table."""
        return struct.unpack_from(form, self.table, offset)[0]

    @property
    def live(self):
        """table->live"""
        return self.word(LIVE)

    def totals(self):
        """Counters by name."""
        return dict(zip(TOTALS, struct.unpack_from(f"<{len(TOTALS)}Q", self.table, TOTALS_AT)))

    def entry(self, slot):
        """state, pid, id, start_ns of an entry."""
        return struct.unpack_from("<IiQQ", self.table, ENTRIES_AT + 128 * slot)

    def worker(self):
        """Slot and process id of the only worker."""
        (slot,) = (i for i in range(self.slots_count) if self.entry(i)[0] == 1)
        return slot, self.entry(slot)[1]

    def pids(self):
        """Process ids in the table."""
        return [pid for pid in (self.entry(i)[1] for i in range(self.slots_count)) if pid > 0]

    def command(self, slot, command, pid):
        """Tells pid to end if it is the worker of the slot, as echod does, but only once."""
        struct.pack_into("<Ii", self.commands, 8 * slot, command, pid)
        os.kill(self.entry(slot)[1], signal.SIGURG)

    def end(self, slot, command, client):
        """
        Tells the worker of the slot to end until the client sees it: a signal that comes between
        a worker's look at its word and its read says nothing.
        """
        pid = self.entry(slot)[1]
        end = time.monotonic() + DEADLINE_S
        while not select.select([client], [], [], 0.1)[0]:
            assert time.monotonic() < end, f"process {pid} does not end"
            self.command(slot, command, pid)

    def read_ring(self):
        """Takes what stands in the ring into self.events."""
        head, tail = self.word(RING_HEAD, "<Q"), self.word(RING_TAIL, "<Q")
        for number in range(tail, head):
            values = EVENT.unpack_from(self.table, RING_AT + number % RING_EVENTS * 128)
            self.events.append(dict(zip(FIELDS, values)))
        struct.pack_into("<Q", self.table, RING_TAIL, head)

    def event(self, kind):
        """Waits for the next event of this kind and removes it."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            struct.pack_into("<I", self.table, ASLEEP, 1)
            self.read_ring()
            for event in self.events:
                if event["type"] == kind:
                    self.events.remove(event)
                    return event
            if select.select([self.channel], [], [], 0.2)[0]:
                self.channel.recv(256)
        raise TimeoutError(f"no event of type {kind}")

    def closed(self):
        """The next end of a worker: its word and the event."""
        event = self.event(CLOSED)
        return ENDS[event["reason"]], event

    def refused(self):
        """The next refusal's word."""
        return REFUSALS[self.event(REFUSED)["reason"]]

    def is_balanced(self):
        """accepted = closed + refused + live"""
        totals = self.totals()
        ended = sum(totals[name] for name in TOTALS[1:TOTALS.index("bytes-in")])
        return totals["accepted"] == ended + self.live


def fill(client):
    """Sends without reading until nothing more goes; returns how many bytes went."""
    client.settimeout(0.5)
    sent = 0
    try:
        while True:
            sent += client.send(bytes(1 << 16))
    except TimeoutError:
        client.settimeout(30)
        return sent


def echoed(client, data=b"hello\n"):
    """True when data comes back; the connection stays open."""
    client.sendall(data)
    return client.recv(len(data), socket.MSG_WAITALL) == data
