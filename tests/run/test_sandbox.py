#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Every level of the sandbox lets workers and the datagram process do all that they have to do."""
import contextlib
import os
import re
import socket

from harness import (DEADLINE_S, Echod, case, exchange, main, random_bytes, read_exactly,
                     read_to_end, temporary_directory)

FILTERS = {"off": 0, "auto": 1, "require": 1, "strict": 2}     # in a worker
DATAGRAM_FILTERS = {**FILTERS, "auto": 2, "require": 2}


def filters_of(pid):
    """How many seccomp filters a process has."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return int(re.search(r"Seccomp_filters:\s+(\d+)", file.read())[1])


def end_every_way(echod):
    """Much and nothing until the FIN, idle, stall, session."""
    data = random_bytes(3 << 20)
    assert exchange(echod.connect(), data) == data
    assert exchange(echod.connect(), b"") == b""
    # side by side, so that each may take its time
    with echod.connect() as idle, echod.connect() as stalled, echod.connect() as busy:
        idle.sendall(b"x")
        stalled.settimeout(0.2)
        with contextlib.suppress(OSError):      # nothing more goes
            while True:
                stalled.sendall(bytes(1 << 20))
        with contextlib.suppress(OSError):
            while True:
                busy.sendall(b"busy")
                read_exactly(busy, 4)
        assert read_to_end(idle) == b"x"
        for end in ("fin", "idle", "stall", "session"):
            echod.wait_log(f"end={end}")


def run_at(level):
    settings = {"sandbox": level, "timeouts": {"idle": "3s", "stall": "3s", "session": "7s"}}
    with temporary_directory() as folder:
        os.chmod(folder, 0o777)
        addresses = ("127.0.0.1:0", f"unix:{folder}/socket")
        with Echod(settings, listen=addresses) as echod:
            with echod.connect() as sock:
                sock.sendall(b"x")
                assert read_exactly(sock, 1) == b"x"
                assert filters_of(echod.wait_workers(1)[0]) == FILTERS[level]
            end_every_way(echod)
            assert exchange(echod.connect(1), b"over Unix") == b"over Unix"
            crashed = [line for line in echod.log() if "end=crashed" in line]
            assert not crashed, crashed


def run_datagrams_at(level):
    with Echod({"sandbox": level}, listen=("udp:127.0.0.1:0",)) as echod, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(("127.0.0.1", echod.port))
        for size in (0, 1, 1472, 65507):
            data = random_bytes(size)
            sock.send(data)
            assert sock.recv(1 << 16) == data
        assert filters_of(echod.wait_workers(1)[0]) == DATAGRAM_FILTERS[level]


for name in FILTERS:
    case(f"sandbox = {name}")(lambda level=name: run_at(level))
    case(f"sandbox = {name}, datagrams")(lambda level=name: run_datagrams_at(level))

main()
