#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Starts a command N times, each with a listening socket of its own on one port (SO_REUSEPORT).

usage: several.py N PORT COMMAND ARGUMENT...

The sockets are passed as systemd passes them. Ends when the first of the commands has ended.
"""
import os
import socket
import sys


def start(port, command):
    """Binds before the fork, so that the kernel spreads connections from the start."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(4096)
    if os.fork() == 0:
        if listener.fileno() != 3:
            os.dup2(listener.fileno(), 3)
        os.set_inheritable(3, True)
        os.environ["LISTEN_FDS"] = "1"
        os.environ["LISTEN_PID"] = str(os.getpid())
        os.execv(command[0], command)
    listener.close()


for _ in range(int(sys.argv[1])):
    start(int(sys.argv[2]), sys.argv[3:])
os.wait()
