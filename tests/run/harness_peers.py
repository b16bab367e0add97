# SPDX-License-Identifier: MIT
"""Servers that behave and servers that do not, as peers for echoctl."""
import contextlib
import json
import select
import socket
import struct
import threading

from harness_clients import read_exactly

CHUNK = 1 << 16


class Peer:
    """
    Listens on loopback, or at a host of a node (harness_datagram), or on a Unix socket; a thread
    for each connection runs handle(it).
    """

    def __init__(self, handle, path=None, host="127.0.0.1", node=None):
        self.handle = handle
        self.connections = 0
        self.done = threading.Event()
        if path:
            self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.listener.bind(path)
            self.listener.listen()
            self.address = "unix:" + path
        else:
            with node.inside() if node else contextlib.nullcontext():
                self.listener = socket.create_server((host, 0), backlog=128)
            self.address = f"{host}:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._accept, daemon=True)

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        # What a peer that went away causes is not what is tested.
        with connection, contextlib.suppress(OSError):
            self.handle(connection)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()

    def hold(self, _connection):
        """For handlers: keeps a connection until the test is over."""
        self.done.wait()


def echo(connection):
    """RFC 862."""
    while data := connection.recv(CHUNK):
        connection.sendall(data)


def echo_bytewise(connection):
    """Correct, but in the smallest segments."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := connection.recv(CHUNK):
        for byte in data:
            connection.sendall(bytes([byte]))


def swallow(connection):
    """Reads everything, answers nothing."""
    while connection.recv(CHUNK):
        pass


def by_message(size, answer):
    """A handler that answers each message of this size with answer(number, message)."""
    def handle(connection):
        number = 0
        while len(message := read_exactly(connection, size)) == size:
            number += 1
            reply = answer(number, message)
            if reply is None:
                return
            connection.sendall(reply)
    return handle


def flip(message, offset):
    """The message with one bit changed."""
    changed = bytearray(message)
    changed[offset] ^= 0x40
    return bytes(changed)


def reset(connection):
    """Closes with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def forget(silence_s, how):
    """
    An echo that ends a connection which was silent for that long: at once by "fin" or "reset",
    or, when it is used again, by "late reset" or as a "black hole".
    """
    def handle(connection):
        forgotten = False
        patience_s = None   # before the first echo there is no silence
        while True:
            if not forgotten and not select.select([connection], [], [], patience_s)[0]:
                if how == "fin":    # and no RST, whatever comes meanwhile
                    connection.shutdown(socket.SHUT_WR)
                    swallow(connection)
                    return
                if how == "reset":
                    reset(connection)
                    return
                forgotten = True
            data = connection.recv(CHUNK)
            if not data:
                return
            if forgotten and how == "late reset":
                reset(connection)
                return
            if not forgotten:
                connection.sendall(data)
            patience_s = silence_s
    return handle


def events(result, name=None):
    """The JSON lines that echoctl wrote, those of one event only if a name is given."""
    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")
    lines = [json.loads(line, parse_constant=refuse) for line in result.stdout.splitlines()]
    for line in lines:
        assert next(iter(line)) == "event", line
    return [line for line in lines if name in (None, line["event"])]


@contextlib.contextmanager
def full_unix_backlog(path, room=0):
    """An address where a connect, after room for so many, waits for ever: nobody accepts."""
    with socket.socket(socket.AF_UNIX) as full, socket.socket(socket.AF_UNIX) as first:
        full.bind(path)
        full.listen(room)
        first.connect(path)
        yield "unix:" + path


@contextlib.contextmanager
def full_backlog():
    """An address from which no connect gets an answer: the kernel answers no more SYNs."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        yield "127.0.0.1:%d" % full.getsockname()[1]
