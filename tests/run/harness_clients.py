# SPDX-License-Identifier: MIT
"""Connections, and echoctl as a client."""
import contextlib
import random
import socket
import subprocess
import threading

from harness_tap import DEADLINE_S, MEMCHECK, program, wait_until


def send_and_close(sock, data):
    """Sends all of data, then half-closes."""
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def read_to_end(sock, chunk=1 << 16):
    """Everything up to the peer's FIN."""
    parts = []
    while part := sock.recv(chunk):
        parts.append(part)
    return b"".join(parts)


def read_exactly(sock, count):
    """count bytes, or fewer when the peer's FIN comes first."""
    parts = []
    while count > 0 and (part := sock.recv(min(count, 1 << 16))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def sending(sock, data):
    """A started thread that sends all of data and half-closes; the reader sees what went wrong."""
    def work():
        with contextlib.suppress(OSError):
            send_and_close(sock, data)
    sender = threading.Thread(target=work, daemon=True)
    sender.start()
    return sender


def exchange(sock, data):
    """Sends data while reading what comes back, half-closes, reads to the end, closes."""
    with sock:
        sender = sending(sock, data)
        echoed = read_to_end(sock)
        sender.join(DEADLINE_S)
        assert not sender.is_alive(), "the sender is stuck"
        return echoed


def run_echoctl(*arguments, stdin=b"", deadline_s=DEADLINE_S, env=None):
    """Runs echoctl to its end; the result has returncode, stdout and stderr (bytes)."""
    return subprocess.run([*MEMCHECK, program("echoctl"), *arguments], input=stdin,
                          capture_output=True, timeout=deadline_s, env=env, check=False)


def connect_to(address, deadline_s=DEADLINE_S):
    """A connection to "host:port", "[v6]:port" or "unix:/path"."""
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(deadline_s)
        sock.connect(address[len("unix:"):])
        return sock
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=deadline_s)


def wait_accepts(address):
    """Waits until somebody listens there (a Unix socket has its name before that)."""
    def accepts():
        with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
            connect_to(address).close()
            return True
        return False
    wait_until(accepts, f"{address} accepts connections")


def free_port(family=socket.AF_INET, host="127.0.0.1"):
    """
    A port for a program that cannot choose one and tell. The kernel gives none of these to a
    client. Not by the seed: two tests that run at once may share it, and had the same port.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        first_of_clients = int(file.read().split()[0])
    ports = range(10000, first_of_clients) if first_of_clients > 12000 else range(60000, 65536)
    while True:
        port = random.SystemRandom().choice(ports)
        with socket.socket(family, socket.SOCK_STREAM) as sock, contextlib.suppress(OSError):
            sock.bind((host, port))
            return port


_unused = []


def unused_address():
    """Where nobody listens, nor can while this program runs."""
    _unused.append(socket.socket())
    _unused[-1].bind(("127.0.0.1", 0))
    return "127.0.0.1:%d" % _unused[-1].getsockname()[1]
