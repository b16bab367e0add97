#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Many connections, one after the other and at once: every one is served, none leaves a trace."""
import selectors
import socket
import threading

from harness import (DEADLINE_S, Echod, case, descriptors, exchange, main, random_bytes,
                     read_exactly, read_to_end, wait_until)

QUIET = {"log": {"connections": "none"},
         "limits": {"connections": 2000, "connections-per-source": 0}}


def connection_round(echod, count, payload, failures):
    for _ in range(count):
        try:
            if exchange_small(echod, payload) != payload:
                failures.append("wrong echo")
        except OSError as error:
            failures.append(repr(error))


def exchange_small(echod, payload):
    with echod.connect() as sock:
        sock.sendall(payload)
        sock.shutdown(socket.SHUT_WR)
        return read_to_end(sock)


@case("5000 connections from 8 clients leave no process, zombie or descriptor behind")
def test_thousands():
    with Echod(QUIET) as echod:
        exchange_small(echod, b"warm")
        wait_until(lambda: not echod.worker_pids(), "the first worker is gone")
        held = {pid: len(descriptors(pid)) for pid in (echod.pid, echod.listener_pid)}
        failures = []
        clients = [threading.Thread(target=connection_round, daemon=True,
                                    args=(echod, 625, random_bytes(64), failures))
                   for _ in range(8)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(300)
            assert not client.is_alive(), "a client hangs"
        assert not failures, failures[:5]
        wait_until(lambda: not echod.worker_pids() and not echod.zombies(),
                   "no worker and no zombie is left")
        assert held == {pid: len(descriptors(pid)) for pid in held}, "descriptors have leaked"


@case("64 connections at once are all served")
def test_64():
    serve_at_once(64)


@case("1000 connections at once are all served")
def test_1000():
    serve_at_once(1000)


def serve_at_once(count):
    """Opens count connections, sees a worker for each, echoes over all, in both directions."""
    with Echod(QUIET) as echod:
        sockets = [echod.connect() for _ in range(count)]
        for number, sock in enumerate(sockets):
            sock.sendall(b"%08d" % number)
        for number, sock in enumerate(sockets):
            assert read_exactly(sock, 8) == b"%08d" % number
        assert len(echod.worker_pids()) >= count, "one worker a connection"
        for sock in sockets:
            sock.shutdown(socket.SHUT_WR)
        for sock in sockets:
            assert sock.recv(1) == b""
            sock.close()
        wait_until(lambda: not echod.zombies(), "no zombie is left")


@case("bulk over 64 connections at once comes back whole")
def test_bulk_at_once():
    payload = random_bytes(1 << 20)
    with Echod(QUIET) as echod, selectors.DefaultSelector() as selector:
        state = {}
        for _ in range(64):
            sock = echod.connect()
            sock.setblocking(False)
            state[sock] = [0, 0]    # sent, received
            selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while state:
            events = selector.select(DEADLINE_S)
            assert events, f"nothing moves on {len(state)} connections"
            for key, mask in events:
                sock, progress = key.fileobj, state[key.fileobj]
                if mask & selectors.EVENT_WRITE:
                    progress[0] += sock.send(payload[progress[0]:progress[0] + 65536])
                    if progress[0] == len(payload):
                        sock.shutdown(socket.SHUT_WR)
                        selector.modify(sock, selectors.EVENT_READ)
                if mask & selectors.EVENT_READ:
                    part = sock.recv(65536)
                    assert part == payload[progress[1]:progress[1] + len(part)]
                    progress[1] += len(part)
                    if not part:
                        assert progress[1] == len(payload), f"{progress[1]} bytes came back"
                        selector.unregister(sock)
                        sock.close()
                        del state[sock]


@case("clients that reset harm nobody and are named in the log")
def test_resets():
    with Echod({"limits": {"connections-per-source": 0}}) as echod:
        with echod.connect() as neighbour:
            for number in range(100):
                sock = echod.connect()
                sock.sendall(b"x" * 1000 * (number % 3 + 1))
                read_exactly(sock, number + 1)     # one that carried nothing is not logged
                # SO_LINGER 0: close sends RST
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.close()
            neighbour.sendall(b"still here")
            assert read_exactly(neighbour, 10) == b"still here"
        wait_until(lambda: not echod.worker_pids() and not echod.zombies(), "all have ended")
        ends = [fields["end"] for fields in echod.closed_connections(101)]
        assert ends.count("reset") == 100, ends
        assert exchange(echod.connect(), b"new") == b"new"


main()
