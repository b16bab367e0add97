#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A worker that was taken over writes what it likes into the memory that it shares."""
import contextlib
import json
import mmap
import os
import threading

from harness import (RANDOM, Echod, case, connect_to, descriptors, exchange, main, read_exactly,
                     run_echoctl, wait_until)

# debug: a connection whose counters are nought when it ends is one that carried no byte
SETTINGS = {"limits": {"connections": 4, "at-limit": "refuse"}, "log": {"level": "debug"}}


def hold(echod):
    sock = echod.connect()
    sock.sendall(b"held")
    assert read_exactly(sock, 4) == b"held"
    return sock


@contextlib.contextmanager
def slots_of(echod):
    """The slots of all workers, as any of them has them mapped."""
    number = next(fd for fd, link in descriptors(echod.pid).items() if "echod-slots" in link)
    fd = os.open(f"/proc/{echod.pid}/fd/{number}", os.O_RDWR)
    try:
        with mmap.mmap(fd, os.fstat(fd).st_size) as slots:
            yield slots
    finally:
        os.close(fd)


@contextlib.contextmanager
def scribbling(slots):
    """All bits set, none, and random ones in all slots, over and over."""
    size = len(slots)
    patterns = [b"\xff" * size, bytes(size), bytes(size - 8) + b"\x80" * 8,
                *(RANDOM.randbytes(size) for _ in range(5))]
    is_over = threading.Event()

    def scribble():
        number = 0
        while not is_over.wait(0.001):
            slots[:] = patterns[number % len(patterns)]
            number += 1

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def numbers_of(value):
    """All numbers in what JSON has made."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers_of(item)]
    return [value] if isinstance(value, (int, float)) else []


def ask(echod, *command):
    result = run_echoctl("--json", "--control", os.path.join(echod.folder, "control"), *command)
    assert result.returncode == 0, result
    return [json.loads(line) for line in result.stdout.splitlines()]


def is_refused(echod):
    with echod.connect() as sock:
        try:
            sock.sendall(b"x")
            return sock.recv(1) == b""
        except ConnectionError:
            return True


@case("nonsense in every slot ends nobody, moves no limit and stays within bounds when shown")
def test_nonsense():
    with Echod(SETTINGS) as echod, slots_of(echod) as slots, contextlib.ExitStack() as stack:
        held = [stack.enter_context(hold(echod)) for _ in range(4)]
        workers = echod.wait_workers(4)
        with scribbling(slots):
            for _ in range(20):
                for sock in held:
                    sock.sendall(b"x" * 100)
                    assert read_exactly(sock, 100) == b"x" * 100
                for command in ("status", "list"):
                    answer = ask(echod, command)
                    assert all(number >= 0 for number in numbers_of(answer)), answer
            assert run_echoctl("--control", os.path.join(echod.folder, "control"),
                               "metrics").returncode == 0
            assert is_refused(echod), "the limit holds"
            mark = echod.log_mark()
            held.pop().close()
            ended = echod.closed_connections(1, mark)[0]
            assert ended["end"] == "fin" and int(ended["bytes-in"]) <= 1 << 56, ended
            assert sorted(echod.worker_pids()) == sorted(
                pid for pid in workers if pid != int(ended["worker"]))
            held.append(stack.enter_context(hold(echod)))
            assert is_refused(echod), "the limit holds"
        status = ask(echod, "status")[0]["connections"]
        assert status["live"] == 4, status
        assert status["accepted"] == 4 + sum(status["closed"].values()) + sum(
            status["refused"].values()), status


@case("one told to end is ended, and no other, whatever stands in the slots")
def test_kill_one():
    with Echod(SETTINGS) as echod, slots_of(echod) as slots, hold(echod) as first, \
            hold(echod) as second, scribbling(slots):
        rows = [row for row in ask(echod, "list") if row["event"] == "connection"]
        port = second.getsockname()[1]
        victim = next(row for row in rows if row["peer"].endswith(f":{port}"))
        mark = echod.log_mark()
        ask(echod, "kill", victim["id"])
        assert second.recv(1) == b""
        second.close()
        assert echod.closed_connections(1, mark)[0]["end"] == "killed"
        first.sendall(b"here")
        assert read_exactly(first, 4) == b"here"


@case("no worker, and not the listener, can make the commands writable")
def test_commands():
    with Echod(SETTINGS) as echod, hold(echod):
        for pid in (echod.listener_pid, *echod.wait_workers(1)):
            with open(f"/proc/{pid}/smaps", encoding="ascii") as file:
                mappings = file.read().split("VmFlags: ")
            pairs = list(zip(mappings, (rest.splitlines()[0].split() for rest in mappings[1:])))
            flags = [flags for text, flags in pairs if "echod-commands" in text]
            assert len(flags) == 1 and "rd" in flags[0], flags
            assert not {"wr", "mw"} & set(flags[0]), flags
            assert not [link for link in descriptors(pid).values() if "echod-" in link]


@case("a listener that dies under nonsense leaves orphans that serve and are accounted")
def test_orphans():
    with Echod(SETTINGS) as echod, slots_of(echod) as slots, hold(echod) as held, \
            scribbling(slots):
        worker = echod.wait_workers(1)[0]
        os.kill(echod.listener_pid, 9)
        echod.wait_log("left its connections behind")
        held.sendall(b"orphan")
        assert read_exactly(held, 6) == b"orphan"
        mark = echod.log_mark()
        held.close()
        ended = echod.closed_connections(1, mark)[0]
        assert ended["worker"] == str(worker) and ended["end"] == "fin", ended
        wait_until(lambda: not os.path.exists(f"/proc/{worker}"), "the orphan is reaped")
        assert exchange(connect_to(echod.address), b"new") == b"new"


main()
