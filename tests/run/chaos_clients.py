# SPDX-License-Identifier: MIT
"""Clients for the chaos test: each makes one connection and judges what it saw."""
import contextlib
import socket
import struct
import time

from harness import exchange, read_exactly, read_to_end, send_and_close, sending

PATIENCE_S = 60     # one step of a client, on a loaded machine


class Wrong(Exception):
    """Bytes that were never sent, or not in this place: no fault excuses it."""


class Broken(Exception):
    """The connection ended early. Excused when a fault hit its worker or its listener."""

    def __init__(self, port, started, why):
        super().__init__(f"port {port}: {why}")
        self.port, self.started, self.ended = port, started, time.monotonic()


def expect(data, echoed):
    """All of data has to have come back; a prefix is early, anything else is wrong."""
    if echoed == data:
        return
    if not data.startswith(echoed):
        raise Wrong(f"{len(echoed)} of {len(data)} bytes, and they differ")
    raise EOFError(f"{len(echoed)} of {len(data)} bytes")


def bulk(sock, random):
    data = random.randbytes(random.randrange(1 << 22))
    expect(data, exchange(sock, data))


def one_byte(sock, random):
    for byte in random.randbytes(random.randrange(1, 200)):
        sock.sendall(bytes([byte]))
        expect(bytes([byte]), read_exactly(sock, 1))
    sock.shutdown(socket.SHUT_WR)
    expect(b"", read_to_end(sock))


def silent(sock, random):
    sock.settimeout(random.uniform(0.05, 1))
    with contextlib.suppress(TimeoutError):
        expect(b"", sock.recv(1))
        raise EOFError("nothing was sent and it was closed")
    sock.settimeout(PATIENCE_S)
    sock.shutdown(socket.SHUT_WR)
    expect(b"", read_to_end(sock))


def slow(sock, random):
    data = random.randbytes(random.randrange(1 << 18))
    sender = sending(sock, data)
    echoed = b""
    while part := sock.recv(random.randrange(1, 1 << 14)):
        echoed += part
        time.sleep(0.002)
    sender.join(PATIENCE_S)
    expect(data, echoed)


def half_close(sock, random):
    data = random.randbytes(random.randrange(1 << 15))
    send_and_close(sock, data)
    expect(data, read_to_end(sock))


def reset(sock, random):
    """At fault itself: whatever happens to it is right."""
    with contextlib.suppress(OSError):
        sock.sendall(random.randbytes(random.randrange(1 << 16)))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def liar(sock, random):
    """Sends and never reads, then goes away: at fault too."""
    sock.settimeout(random.uniform(0.05, 0.5))
    with contextlib.suppress(OSError):
        while True:
            sock.sendall(random.randbytes(1 << 16))


KINDS = [bulk, one_byte, silent, slow, half_close, half_close, reset, liar]
AT_FAULT = (reset, liar)


class Talker:
    """Datagrams, a few at a time: what comes back was sent, and comes once. Some may be lost."""

    def __init__(self, address, random):
        self.random = random
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        host, _, port = address.removeprefix("udp:").rpartition(":")
        self.sock.connect((host, int(port)))
        self.open = {}
        self.sent = self.back = 0

    def turn(self):
        """Sends some and takes what comes back."""
        for _ in range(self.random.randrange(1, 20)):
            data = struct.pack("=Q", self.sent) + self.random.randbytes(self.random.randrange(3000))
            self.sock.send(data)
            self.open[self.sent] = data
            self.sent += 1
        self.take(0.2)

    def take(self, patience_s):
        """What comes back until nothing has come for so long, or there is nothing to come."""
        self.sock.settimeout(patience_s)
        with contextlib.suppress(TimeoutError):
            while self.open:
                data = self.sock.recv(1 << 16)
                if self.open.pop(struct.unpack_from("=Q", data)[0], None) != data:
                    raise Wrong(f"a datagram of {len(data)} bytes was not sent, or came before")
                self.back += 1


def run_client(address, random):
    """One connection of a kind that random chooses. Raises Wrong or Broken."""
    kind = random.choice(KINDS)
    started = time.monotonic()
    host, _, port = address.rpartition(":")
    with socket.socket() as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect((host, int(port)))
        own_port = sock.getsockname()[1]
        try:
            kind(sock, random)
        except (OSError, EOFError) as error:
            if kind not in AT_FAULT:
                raise Broken(own_port, started, f"{kind.__name__}: {error}") from error
    return kind.__name__
