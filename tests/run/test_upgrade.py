#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An upgrade: the programs on disk change, a reload brings them into force and drops nothing."""
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket

from harness import (DEADLINE_S, Echod, case, exchange, main, program, read_exactly, run_echoctl,
                     temporary_directory, wait_until)

TAKES_OVER = r"has changed on disk and takes over"
RING_EVENTS = 4096
IN_FORCE = r"new settings are in force"


def install(path, source=None):
    """Puts a program in place as a package manager does: a new file, renamed."""
    shutil.copy(source or program("echod"), path + ".new")
    os.chmod(path + ".new", 0o755)
    os.rename(path + ".new", path)


@contextlib.contextmanager
def installed_echod(**options):
    """echod started from a copy; yields it and the path of the copy."""
    with temporary_directory() as folder:
        path = os.path.join(folder, "echod")
        install(path)
        with Echod(executable=path, **options) as echod:
            yield echod, path


def hold(echod):
    sock = echod.connect()
    sock.sendall(b"held")
    assert read_exactly(sock, 4) == b"held"
    return sock


def totals(echod):
    mark = echod.log_mark()
    echod.signal(signal.SIGUSR1)
    line = echod.wait_log(r"totals (.*)", since=mark)[0][1]
    return {name: int(value) for name, value in re.findall(r"([\w-]+)=(\d+)", line)}


def echoes(sock, text):
    sock.sendall(text)
    return read_exactly(sock, len(text)) == text


@case("echod takes over from itself: same process, same connections, same counters")
def test_take_over():
    with installed_echod() as (echod, path), hold(echod) as held:
        exchange(echod.connect(), b"before")
        for round_number in (1, 2):
            before = os.stat(f"/proc/{echod.pid}/exe").st_ino
            install(path)
            mark = echod.reload()
            echod.wait_log(TAKES_OVER, since=mark)
            echod.wait_log(IN_FORCE, since=mark)
            assert os.stat(f"/proc/{echod.pid}/exe").st_ino == os.stat(path).st_ino != before
            assert echoes(held, b"still here")
            assert exchange(echod.connect(), b"new") == b"new"
            wait_until(lambda n=1 + round_number: (found := totals(echod))["closed"] == n
                       and found["active"] == 1, "the held one is left")
        held.close()
        wait_until(lambda: len(echod.listener_pids()) == 1, "the old listeners have ended")
        found = totals(echod)
        assert found["accepted"] == found["closed"] == 4, found
        wait_until(lambda: not echod.zombies(), "all are reaped")


@case("signals that come while a program takes over are not lost")
def test_signals():
    for number in range(10):
        with installed_echod() as (echod, path):
            install(path)
            mark = echod.reload()
            if number % 2:
                assert totals(echod)["active"] == 0
                echod.wait_log(IN_FORCE, since=mark)
            else:
                assert echod.stop() == 0    # TERM


@case("orphans of a dead listener are taken over too, descriptors do not pile up")
def test_orphans():
    with installed_echod() as (echod, path), \
            hold(echod) as held:
        count = None
        os.kill(echod.listener_pid, signal.SIGKILL)
        echod.wait_log("left its connections behind")
        for _ in range(3):
            install(path)
            mark = echod.reload()
            echod.wait_log(IN_FORCE, since=mark)
            wait_until(lambda: len(echod.listener_pids()) == 1, "one listener is left")
            count = count or len(os.listdir(f"/proc/{echod.pid}/fd"))
            wait_until(lambda: len(os.listdir(f"/proc/{echod.pid}/fd")) <= count,
                       f"no more than {count} descriptors are open")
        assert echoes(held, b"orphan")
        mark = echod.log_mark()
        held.close()
        assert echod.closed_connections(1, mark)[0]["bytes-in"] == "10"
        found = totals(echod)
        assert found["active"] == 0 and found["accepted"] == found["closed"] == 1, found


@case("a worker that was told to end before a take-over and does not is killed after it")
def test_kill_under_way():
    with installed_echod() as (echod, path), hold(echod) as held:
        [worker] = echod.worker_pids()
        mark = echod.log_mark()
        os.kill(worker, signal.SIGSTOP)
        control = os.path.join(echod.folder, "control")
        assert run_echoctl("--control", control, "kill", "1.1").returncode == 0
        install(path)
        echod.reload()
        echod.wait_log(IN_FORCE, since=mark)
        assert echod.closed_connections(1, mark)[0]["end"] == "killed"
        assert held.recv(1) == b""


def refuse_many(echod, count):
    """Connections that are turned away while the supervisor sees none of their events."""
    os.kill(echod.pid, signal.SIGSTOP)
    try:
        for _ in range(count):
            with echod.connect() as sock, contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""
    finally:
        os.kill(echod.pid, signal.SIGCONT)


def status_of(echod):
    """What echoctl status --json says."""
    answer = run_echoctl("--control", echod.folder + "/control", "--json", "status")
    return json.loads(answer.stdout)


@case("lines that were left out before a take-over are said, and counted after it")
def test_suppressed():
    settings = {"log": {"max-per-second": 1}}
    with installed_echod(settings=settings) as (echod, path):
        for _ in range(8):
            exchange(echod.connect(), b"x")
        wait_until(lambda: totals(echod)["closed"] == 8, "all have ended")
        wait_until(lambda: status_of(echod)["log_suppressed"] >= 1, "some lines are left out")
        install(path)
        mark = echod.reload(settings)
        echod.wait_log(IN_FORCE, since=mark)

        def said():
            found = (re.search(r"suppressed .*lines=(\d+)", line) for line in echod.log())
            return sum(int(match[1]) for match in found if match)
        # what came with the take-over is left out in a second of its own
        wait_until(lambda: said() == status_of(echod)["log_suppressed"] >= 1, "all are said")


@case("events that found no room are said once, before a take-over or after it")
def test_dropped_events():
    settings = {"access": {"deny": ["127.0.0.0/8"]}}

    def dropped(echod):
        return status_of(echod)["events_dropped"]

    def said(echod):
        found = (re.search(r"(\d+) events found no room", line) for line in echod.log())
        return sum(int(match[1]) for match in found if match)

    with installed_echod(settings=settings) as (echod, path):
        refuse_many(echod, RING_EVENTS + 100)
        wait_until(lambda: 0 < said(echod) == dropped(echod), "those of before are said")
        install(path)
        mark = echod.reload(settings)
        echod.wait_log(IN_FORCE, since=mark)
        before = dropped(echod)
        refuse_many(echod, RING_EVENTS + 300)
        wait_until(lambda: before < said(echod) == dropped(echod), "all are said, each once")


@case("a program that cannot be executed changes nothing")
def test_broken_program():
    with installed_echod() as (echod, path), hold(echod) as held:
        install(path, "/dev/null")
        mark = echod.reload()
        echod.wait_log("cannot take over, going on with the old program", since=mark)
        echod.wait_log(IN_FORCE, since=mark)
        assert echoes(held, b"still here")
        assert exchange(echod.connect(), b"new") == b"new"


@case("nor does one that the kernel executes and that does not run")
def test_probed_program():
    with installed_echod() as (echod, path), hold(echod) as held:
        with open(program("echod"), "rb") as file:
            half = file.read()
        with temporary_directory() as folder:
            for name, content, why in (("half", half[:5000], "Exec format error"),
                                       ("fails", b"#!/bin/sh\nexit 127\n", "Exec format error"),
                                       ("hangs", b"#!/bin/sh\nexec sleep 60\n", "timed out")):
                other = os.path.join(folder, name)
                with open(other, "wb") as file:
                    file.write(content)
                os.chmod(other, 0o755)
                install(path, other)
                mark = echod.reload()
                echod.wait_log(f"cannot take over, going on with the old program: .*{why}",
                               since=mark)
                echod.wait_log(IN_FORCE, since=mark)
                assert echoes(held, b"still here")
                assert exchange(echod.connect(), b"new") == b"new"


@case("a program that could not be executed is tried again by the next reload")
def test_mended_program():
    with installed_echod() as (echod, path):
        install(path)
        os.chmod(path, 0o644)
        mark = echod.reload()
        echod.wait_log("cannot take over, going on with the old program", since=mark)
        echod.wait_log(IN_FORCE, since=mark)
        os.chmod(path, 0o755)
        mark = echod.reload()
        echod.wait_log(TAKES_OVER, since=mark)
        echod.wait_log(IN_FORCE, since=mark)
        assert os.stat(f"/proc/{echod.pid}/exe").st_ino == os.stat(path).st_ino


@case("a bad file at the take-over leaves the old settings in force")
def test_bad_file():
    with installed_echod() as (echod, path), hold(echod) as held:
        listener = echod.listener_pid
        install(path)
        mark = echod.reload(text="nonsense\n")
        echod.wait_log("the old settings stay in force", since=mark)
        assert echod.listener_pid == listener
        assert echoes(held, b"still here")
        assert exchange(echod.connect(), b"new") == b"new"


@case("sockets that were bound here can be reloaded after a take-over")
def test_own_sockets():
    with installed_echod(listen=("127.0.0.1:0", "127.0.0.1:0")) as (echod, path):
        install(path)
        mark = echod.reload()
        echod.wait_log(IN_FORCE, since=mark)
        for index in (0, 1):
            assert exchange(echod.connect(index), b"x") == b"x"


def sealed(state):
    """A memory file as one echod hands it to the next."""
    fd = os.memfd_create("state", os.MFD_ALLOW_SEALING)
    os.write(fd, json.dumps(state).encode())
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK
                | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return fd


@case("of a state of another version the sockets are taken, and a new listener serves them")
def test_other_version():
    with socket.create_server(("127.0.0.1", 0)) as server:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        state = {"version": 99, "passed": True, "unheard-of": {},
                 "sockets": [{"fd": server.fileno(), "any_port": False}],
                 "generations": [{"pid": 1, "channel": theirs.fileno(), "wire": 77}]}
        fd = sealed(state)
        with Echod(env={"ECHOD_HANDOVER": str(fd)}, listen=(), wait=False,
                   pass_fds=(server.fileno(), theirs.fileno(), fd)) as echod:
            os.close(fd)
            theirs.close()
            echod.wait_log(IN_FORCE)
            echod.addresses = [f"127.0.0.1:{server.getsockname()[1]}"]
            assert exchange(echod.connect(), b"x") == b"x"
            mine.settimeout(DEADLINE_S)
            assert mine.recv(64)[:4] == (32).to_bytes(4, "little"), "the old listener is stopped"


@case("a damaged state, or one that is not sealed, is refused or not looked at")
def test_damaged_state():
    fd = sealed(["nonsense"])
    echod = Echod(env={"ECHOD_HANDOVER": str(fd)}, wait=False, pass_fds=(fd,))
    assert echod.wait() == 1
    os.close(fd)
    fd = os.memfd_create("open", os.MFD_ALLOW_SEALING)
    for value in (str(fd), "77", "x", "-1"):
        with Echod(env={"ECHOD_HANDOVER": value}, pass_fds=(fd,)) as echod:
            assert exchange(echod.connect(), b"x") == b"x"
    os.close(fd)


main()
