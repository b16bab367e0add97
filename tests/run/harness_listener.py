# SPDX-License-Identifier: MIT
"""echod-listener alone: this process plays the supervisor, with the formats of src/wire."""
import contextlib
import fcntl
import mmap
import os
import resource
import select
import signal
import socket
import struct
import time

from harness_tap import BUILDDIR, DEADLINE_S
from harness_wire import ENDS, REFUSALS, WIRE, Struct, numbers

PROGRAM = os.environ.get("ECHOD_LISTENER") or os.path.join(BUILDDIR, "echod-listener")

SETTINGS, SOCKET, RULE = Struct("settings"), Struct("settings_socket"), Struct("settings_rule")
TABLE, TOTALS, ENTRY, SLOT = Struct("table"), Struct("totals"), Struct("entry"), Struct("slot")
EVENT, ENDPOINT, MESSAGE = Struct("event"), Struct("endpoint"), Struct("message")
UNUSED_UID = 20000 + os.getpid() % 40000     # its processes are counted: nobody else may be it
FAMILIES = {socket.AF_INET: WIRE.ENDPOINT_INET, socket.AF_INET6: WIRE.ENDPOINT_INET6,
            socket.AF_UNIX: WIRE.ENDPOINT_UNIX}
COMMAND_BYTES = 8


def memory_file(name, data, seal=False):
    """A memory file with these bytes; sealed against every change when seal is true."""
    fd = os.memfd_create("test-" + name, os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    if seal:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK |
                    fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return fd


def describe(listening):
    """struct settings_socket of a listening socket, or of one of UDP."""
    address = b""
    port = 0
    if listening.family != socket.AF_UNIX:
        host, port = listening.getsockname()[:2]
        address = socket.inet_pton(listening.family, host)
    return SOCKET.pack(family=FAMILIES[listening.family], port=port, address=address,
                       wildcard=not any(address) and port != 0,
                       type=WIRE.SETTINGS_DATAGRAM * (listening.type == socket.SOCK_DGRAM))


def settings_block(sockets, rules=(), filters=(b"", b""), **keys):
    """
    The block. rules: prefix, bits, allow; filters: the listener's, the workers'; keys: fields of
    struct settings, idle, stall and session in seconds.
    """
    tables = b"".join([*sockets, *(RULE.pack(prefix=prefix, bits=bits, allow=allow)
                                   for prefix, bits, allow in rules), *filters])
    fields = {"magic": WIRE.SETTINGS_MAGIC, "version": WIRE.WIRE_VERSION,
              "size_bytes": SETTINGS.size + len(tables), "connections": 64,
              "source_prefix_ipv4": 32, "source_prefix_ipv6": 64, "rate_burst": 1,
              "access_default_allow": 1, "socket_count": len(sockets), "rule_count": len(rules),
              "filter_count": len(filters[0]) // 8, "worker_filter_count": len(filters[1]) // 8}
    for name, value in keys.items():
        if name in ("idle", "stall", "session"):
            name, value = name + "_us", int(value * 1e6)
        fields[name] = value
    return SETTINGS.pack(**fields) + tables


def start(path, descriptors, nproc, denials):
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
        listener = os.open(path, os.O_RDONLY)
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
                 seal=True, program=PROGRAM, **keys):
        self.sockets = sockets if sockets is not None else [self.listen(f) for f in families]
        block = block or settings_block([describe(s) for s in self.sockets], **keys)
        self.slots_count = SETTINGS.get(block, "connections")
        table = TABLE.pack(magic=WIRE.TABLE_MAGIC, version=WIRE.WIRE_VERSION,
                           slots=self.slots_count, asleep=1)
        files = [memory_file("settings", block, seal),
                 memory_file("table", table + bytes(ENTRY.size * self.slots_count)),
                 memory_file("slots", bytes(SLOT.size * self.slots_count)),
                 memory_file("commands", bytes(COMMAND_BYTES * self.slots_count))]
        self.table, self.slots, self.commands = (mmap.mmap(fd, 0) for fd in files[1:])
        files.append(os.open(f"/proc/self/fd/{files[3]}", os.O_RDONLY))
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(DEADLINE_S)
        self.status = None
        self.events = []
        self.pid = start(program, [*files[:3], files[4], theirs.fileno(),
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

    def message(self, *, skip=(WIRE.MESSAGE_WAKE,)):
        """The next message: type, value, text."""
        while True:
            data = self.channel.recv(256)
            if not data:
                raise EOFError("the listener has closed the channel")
            message = MESSAGE.unpack(data)
            if message["type"] not in skip:
                text = message["text"].rstrip(b"\0").decode()
                return message["type"], message["value"], text

    def ready(self):
        """Waits until it accepts; returns itself."""
        message = self.message()
        assert message[0] == WIRE.MESSAGE_READY, message
        return self

    def send(self, kind, value=0):
        """Sends a message."""
        self.channel.send(MESSAGE.pack(type=kind, value=value))

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

    @property
    def live(self):
        """table->live"""
        return TABLE.get(self.table, "live")

    def set_foreign_live(self, count):
        """Workers of other generations."""
        TABLE.put(self.table, "foreign_live", count)

    def totals(self):
        """Counters by name; those of struct totals, with the words of ends and refusals."""
        totals = TOTALS.unpack(self.table, TABLE.at("totals"))
        return {**totals, **dict(zip(ENDS, numbers(totals["closed"]))),
                "refused": dict(zip(REFUSALS, numbers(totals["refused"])))}

    def entry(self, slot):
        """An entry by its fields."""
        return ENTRY.unpack(self.table, TABLE.size + ENTRY.size * slot)

    def worker(self):
        """Slot and process id of the only worker."""
        (slot,) = (i for i in range(self.slots_count)
                   if self.entry(i)["state"] == WIRE.ENTRY_LIVE)
        return slot, self.entry(slot)["pid"]

    def pids(self):
        """Process ids in the table."""
        return [pid for i in range(self.slots_count) if (pid := self.entry(i)["pid"])]

    def command(self, slot, command, pid):
        """Tells pid to end if it is the worker of the slot, as echod does, but only once."""
        struct.pack_into("=Q", self.commands, COMMAND_BYTES * slot, pid << 32 | command)
        os.kill(self.entry(slot)["pid"], signal.SIGURG)

    def end(self, slot, command, client):
        """
        Tells the worker of the slot to end until the client sees it: a signal that comes between
        a worker's look at its word and its read says nothing.
        """
        pid = self.entry(slot)["pid"]
        end = time.monotonic() + DEADLINE_S
        while not select.select([client], [], [], 0.1)[0]:
            assert time.monotonic() < end, f"process {pid} does not end"
            self.command(slot, command, pid)

    def read_ring(self):
        """Takes what stands in the ring into self.events; an end's address is a dictionary."""
        head, tail = TABLE.get(self.table, "ring_head"), TABLE.get(self.table, "ring_tail")
        for number in range(tail, head):
            at = TABLE.at("ring") + number % WIRE.RING_EVENTS * EVENT.size
            event = EVENT.unpack(self.table, at)
            self.events.append({**event, "peer": ENDPOINT.unpack(event["peer"]),
                                "local": ENDPOINT.unpack(event["local"])})
        TABLE.put(self.table, "ring_tail", head)

    def event(self, kind):
        """Waits for the next event of this kind and removes it."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            TABLE.put(self.table, "asleep", 1)
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
        event = self.event(WIRE.EVENT_CLOSED)
        return ENDS[event["reason"]], event

    def refused(self):
        """The next refusal's word."""
        return REFUSALS[self.event(WIRE.EVENT_REFUSED)["reason"]]

    def is_balanced(self):
        """accepted = closed + refused + live"""
        totals = self.totals()
        ended = sum(totals[word] for word in ENDS) + sum(totals["refused"].values())
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
