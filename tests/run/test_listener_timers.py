#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echod-listener without a supervisor: idle, stall, session, and bulk under them."""
import contextlib
import os
import signal
import socket
import time

from harness import (case, exchange, main, random_bytes, read_exactly, read_to_end, status_fields,
                     wait_until)
from harness_listener import Listener, echoed, fill


@case("idle: ends in an orderly way, not before its time, bytes move it on")
def test_idle():
    with Listener(idle=3).ready() as listener:
        client = listener.connect()
        for _ in range(11):
            time.sleep(0.3)
            begin = time.monotonic()
            assert echoed(client)
        assert read_to_end(client) == b""
        assert 2.95 < time.monotonic() - begin
        client.close()
        assert listener.closed()[0] == "idle"


@case("idle: a Unix connection too")
def test_idle_unix():
    with Listener((socket.AF_UNIX,), idle=2).ready() as listener:
        client = listener.connect()
        assert echoed(client) and read_to_end(client) == b""
        client.close()
        assert listener.closed()[0] == "idle"


@case("stall: a peer that does not read is ended, whether we wait in a read or in a write")
def test_stall():
    with Listener(stall=0.8).ready() as listener:
        for is_full in (True, False):
            client = listener.connect()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with contextlib.suppress(ConnectionError):      # its end may come before ours
                if is_full:
                    fill(client)
                for _ in range(0 if is_full else 40):
                    client.sendall(bytes(8192))
                    time.sleep(0.005)
            word, event = listener.closed()
            assert word == "stall", (is_full, event)
            client.close()


@case("stall: a half-closed transfer that a slow reader drains is not ended")
def test_slow_reader():
    with Listener(stall=3, idle=3).ready() as listener:
        client = socket.socket()
        client.settimeout(30)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        client.connect(listener.sockets[0].getsockname())
        data = random_bytes(1 << 20)
        sent = 0
        received = bytearray()
        while len(received) < len(data):
            if sent < len(data):
                client.setblocking(False)
                try:
                    sent += client.send(data[sent:])
                except BlockingIOError:
                    pass
                client.settimeout(30)
                if sent == len(data):
                    client.shutdown(socket.SHUT_WR)
            received += client.recv(32768)
            time.sleep(0.15)
        assert bytes(received) == data and read_to_end(client) == b""
        assert listener.closed()[0] == "fin"


def mapped_kib(pid):
    """The address space of a process."""
    return int(status_fields(pid)["VmSize"].split()[0])


def start_bulk(client, listener):
    """Until the worker has the large buffer: its process id, what was sent, what came back."""
    sent, back = bytearray(), bytearray()
    pid = listener.pids()[0]
    small = mapped_kib(pid)
    client.settimeout(0.1)
    while mapped_kib(pid) < small + 1024:
        try:
            sent += (part := random_bytes(1 << 18))[:client.send(part)]
        except TimeoutError:    # it has no room for its echo, and reads on when it has
            with contextlib.suppress(TimeoutError):
                back += client.recv(1 << 16)
    client.settimeout(30)
    return pid, bytes(sent), bytes(back)


@case("bulk: every byte comes back, and the large buffer is given back when it falls quiet")
def test_bulk():
    with Listener(idle=6).ready() as listener:
        client = listener.connect()
        assert echoed(client)
        small = mapped_kib(listener.pids()[0])
        pid, sent, back = start_bulk(client, listener)
        assert back + read_exactly(client, len(sent) - len(back)) == sent
        wait_until(lambda: mapped_kib(pid) == small, "the buffer is given back")
        assert echoed(client)
        assert exchange(client, sent) == sent
        word, event = listener.closed()
        assert (word, event["bytes_in"], event["bytes_out"]) == ("fin", 2 * len(sent) + 12,
                                                                 2 * len(sent) + 12), event


@case("bulk: a peer that vanishes is a reset and no crash")
def test_bulk_reset():
    with Listener().ready() as listener:
        for _ in range(3):
            client = listener.connect()
            assert echoed(client)
            start_bulk(client, listener)
            client.close()
            assert listener.closed()[0] == "reset"


@case("stall: what lies unsent after the peer's FIN is still watched")
def test_stall_half_closed():
    with Listener(stall=0.8).ready() as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400000)
        client.settimeout(30)
        # All is on its way before anybody reads: no stall begins before the FIN.
        os.kill(listener.pid, signal.SIGSTOP)
        client.connect(listener.sockets[0].getsockname())
        client.sendall(bytes(150000))
        client.shutdown(socket.SHUT_WR)
        os.kill(listener.pid, signal.SIGCONT)
        assert listener.closed()[0] == "stall"


@case("session: ends even a connection that never waits")
def test_session():
    with Listener(session=0.7).ready() as listener:
        begin = time.monotonic()
        client = listener.connect()
        try:
            while client.send(bytes(512)) and client.recv(4096):
                pass
        except ConnectionError:
            pass
        assert 0.65 < time.monotonic() - begin
        client.close()
        assert listener.closed()[0] == "session"
        quiet = listener.connect()
        assert read_to_end(quiet) == b""
        quiet.close()
        assert listener.closed()[0] == "session"


main()
