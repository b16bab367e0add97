#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Starts a command N times, each with a socket of its own on one port (SO_REUSEPORT).

usage: several.py N tcp|udp PORT COMMAND ARGUMENT...

The sockets are passed as systemd passes them; those of UDP have the receive buffer that echod's
unit gives them. Ends when the first of the commands has ended.
"""
import os
import socket
import sys

BUFFER_BYTES = 4 << 20


def bound(kind, port):
    """Bound before the fork, so that the kernel spreads connections from the start."""
    sock = socket.socket(type=socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if kind == "udp":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    sock.bind(("127.0.0.1", port))
    if kind == "tcp":
        sock.listen(4096)
    return sock


def start(kind, port, command):
    """One of them."""
    with bound(kind, port) as sock:
        if os.fork() == 0:
            if sock.fileno() != 3:
                os.dup2(sock.fileno(), 3)
            os.set_inheritable(3, True)
            os.environ["LISTEN_FDS"] = "1"
            os.environ["LISTEN_PID"] = str(os.getpid())
            os.execv(command[0], command)


for _ in range(int(sys.argv[1])):
    start(sys.argv[2], int(sys.argv[3]), sys.argv[4:])
os.wait()
