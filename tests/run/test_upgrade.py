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
import struct
import subprocess

from harness import (DEADLINE_S, Echod, case, connect_to, descriptors, exchange, foreign, main,
                     program, read_exactly, run_echoctl, temporary_directory, wait_until)

TAKES_OVER = r"has changed on disk and takes over"
RING_EVENTS = 4096
IN_FORCE = r"new settings are in force"


def install(path, source=None):
    """Puts a program in place as a package manager does: a new file, renamed."""
    shutil.copy(source or program("echod"), path + ".new")
    os.chmod(path + ".new", 0o755)
    os.rename(path + ".new", path)


def install_other(path):
    """Both programs, of another version of what goes between them."""
    for name in ("echod", "echod-listener"):
        install(os.path.join(os.path.dirname(path), name), program("tests/run/other/" + name))


@contextlib.contextmanager
def installed_echod(settings=None, **options):
    """echod started from a copy; yields it and the path of the copy, beside its listener's."""
    with temporary_directory() as folder:
        path = os.path.join(folder, "echod")
        install(path)
        install(path + "-listener", program("echod-listener"))
        with Echod(settings, executable=path, env={"ECHOD_LISTENER": path + "-listener"},
                   **options) as echod:
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
                                       ("crashes", b"#!/bin/sh\nkill -SEGV $$\n",
                                        "Exec format error"),
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


@case("a Unix socket with a path of any bytes is handed over, and one beside it")
def test_bytes():
    with temporary_directory() as folder:
        os.chmod(folder, 0o777)
        path = os.fsdecode(os.fsencode(folder) + b"/caf\xe9")
        with installed_echod(listen=("unix:" + path, "127.0.0.1:0")) as (echod, copy):
            for _ in range(2):
                install(copy)
                mark = echod.reload()
                echod.wait_log(TAKES_OVER, since=mark)
                echod.wait_log(IN_FORCE, since=mark)
                assert exchange(connect_to("unix:" + path), b"x") == b"x"
                assert exchange(echod.connect(1), b"x") == b"x"
            echod.wait_log(r"closed .* local=unix:\S+/caf\\xe9 ", since=mark)
        assert not os.listdir(folder), "the socket's file is gone"


@case("a listener that dies before the reload is started again from the program that ran")
def test_listener_of_before():
    with installed_echod() as (echod, path):
        install_other(path)
        os.kill(old := echod.listener_pid, signal.SIGKILL)
        wait_until(lambda: old not in echod.listener_pids(), "it is gone")
        assert exchange(echod.connect(), b"x") == b"x"
        os.unlink(path + "-listener")
        os.kill(old := echod.listener_pid, signal.SIGKILL)
        wait_until(lambda: old not in echod.listener_pids(), "it is gone")
        assert exchange(echod.connect(), b"x") == b"x"
        install_other(path)
        mark = echod.reload()
        echod.wait_log(IN_FORCE, since=mark)
        assert exchange(echod.connect(), b"x") == b"x"


def hand_over_to_other(echod, path, settings=None):
    """An upgrade to programs of another version."""
    install_other(path)
    mark = echod.reload(settings)
    echod.wait_log(TAKES_OVER, since=mark)
    echod.wait_log("is of another version, its connections are only counted", since=mark)
    echod.wait_log(IN_FORCE, since=mark)


@case("another version: connections, limits and counters go on, a drain ends the connections")
def test_other_version():
    settings = {"limits": {"connections": 2, "at-limit": "refuse"}, "timeouts": {"drain": "0"}}
    with installed_echod(settings) as (echod, path), hold(echod) as held:
        exchange(echod.connect(), b"before")
        wait_until(lambda: totals(echod)["closed"] == 1, "it has ended")
        hand_over_to_other(echod, path, settings)
        wait_until(lambda: totals(echod)["active"] == 1, "the held one is counted")
        with hold(echod) as second:
            with echod.connect() as third, contextlib.suppress(ConnectionResetError):
                assert third.recv(1) == b"", "that is one too many"
            assert echoes(held, b"still here") and echoes(second, b"and new")
            assert status_of(echod)["connections"]["live"] == 2
        wait_until(lambda: totals(echod)["closed"] == 2, "the new one has ended")
        found = totals(echod)
        assert found["active"] == 1 and found["refused"] == 1 and found["accepted"] == 4, found
        assert found["bytes-in"] == len("before") + len("held" + "and new"), found
        echod.signal(signal.SIGTERM)
        assert held.recv(1) == b"", "it ends in an orderly way"


@case("another version: what its listener leaves behind is counted to its end")
def test_other_orphans():
    with installed_echod({"timeouts": {"drain": "0"}}) as (echod, path), \
            hold(echod) as held, hold(echod) as second:
        old = echod.listener_pid
        hand_over_to_other(echod, path)
        mark = echod.log_mark()
        os.kill(old, signal.SIGKILL)
        echod.wait_log("left its connections behind, they go on: 2", since=mark)
        assert echoes(held, b"orphan") and totals(echod)["active"] == 2
        second.close()
        wait_until(lambda: totals(echod)["active"] == 1, "one has ended")
        install(path + "-listener", program("echod-listener"))
        install(path)     # of the first version again: it knows its own
        mark = echod.reload({"timeouts": {"drain": "0"}})
        echod.wait_log(IN_FORCE, since=mark)
        assert echoes(held, b"still here")
        wait_until(lambda: (found := totals(echod))["active"] == 1
                   and found["accepted"] == 2 and found["closed"] == 1, "no more than that")
        echod.signal(signal.SIGTERM)
        assert held.recv(1) == b""


@case("another version and a bad file: the old settings, and nobody waits")
def test_other_bad_file():
    settings = {"access": {"deny": ["127.0.0.2/32"]}}
    with installed_echod(settings) as (echod, path), hold(echod) as held:
        old = echod.listener_pid
        install_other(path)
        mark = echod.reload(text="nonsense\n")
        echod.wait_log("the old settings stay in force", since=mark)
        assert exchange(echod.connect(), b"x") == b"x"
        wait_until(lambda: echod.listener_pids()[-1] != old, "a listener of this version serves")
        assert exchange(echod.connect(), b"x") == b"x"
        with socket.create_connection(("127.0.0.1", echod.port), DEADLINE_S,
                                      ("127.0.0.2", 0)) as denied:
            with contextlib.suppress(ConnectionResetError):
                assert denied.recv(1) == b""
        assert echoes(held, b"still here")


def set_descriptors(pid, limit):
    """Changes RLIMIT_NOFILE of a process as its own user would."""
    owner = os.stat(f"/proc/{pid}")
    become = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    subprocess.run([foreign("prlimit"), f"--pid={pid}", f"--nofile={limit}:"], check=True,
                   **(become if os.geteuid() == 0 else {}))


@case("with too few descriptors for the new program the old one goes on")
def test_few_descriptors():
    with installed_echod() as (echod, path), hold(echod) as held:
        held_open = descriptors(echod.pid)
        numbers = [number for number in range(64) if number not in held_open]
        for free in range(5):
            set_descriptors(echod.pid, numbers[free])
            install(path)
            mark = echod.reload()
            echod.wait_log(f"cannot take over|{IN_FORCE}", since=mark)
            set_descriptors(echod.pid, 1024)
            echod.wait_log(f"old settings stay in force|{IN_FORCE}", since=mark)
            assert echoes(held, b"still here")
            assert exchange(echod.connect(), b"new") == b"new"
        install(path)
        mark = echod.reload()
        echod.wait_log(TAKES_OVER, since=mark)
        echod.wait_log(IN_FORCE, since=mark)


@case("the log tells of every datagram once over an upgrade")
def test_datagrams_told():
    with installed_echod(listen=("127.0.0.1:0", "udp:127.0.0.1:0")) as (echod, path), \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(("127.0.0.1", int(echod.addresses[1].rpartition(":")[2])))
        trade(sock, 0, 16)
        for number, change in enumerate((install, install_other), 1):
            change(path)
            mark = echod.reload()
            echod.wait_log(IN_FORCE, since=mark)
            trade(sock, 16 * number, 16)
        echod.signal(signal.SIGTERM)
        assert echod.wait() == 0
        told = re.compile(r"datagrams local=udp:\S+ in=(\d+) out=(\d+) ")
        wait_until(lambda: [sum(map(int, counts)) for counts in zip(*(
            match.groups() for match in map(told.search, echod.log()) if match))] == [48, 48],
                   "all programs have told theirs")


SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
SUPERVISOR, REST, SOCKET, GENERATION, TALLY = range(5)


def memory(data, seals=SEALS):
    """A memory file, sealed as one that an echod hands to the next."""
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def block(records, lines=b"", magic=0x65636862, count=None, line_bytes=None):
    """Values (kind, index, name, value) as src/echod/handover/handover.c has them."""
    def pack(kind, index, name, value):
        data = value if isinstance(value, bytes) else struct.pack("=i", value)
        return struct.pack("=4I28s8s", kind, index, 0, len(data), name.encode(), data)
    return struct.pack("=4I", magic, 0, len(records) if count is None else count,
                       len(lines) if line_bytes is None else line_bytes) + \
        b"".join(pack(*record) for record in records) + lines


@contextlib.contextmanager
def handed(make):
    """An echod that was handed what make(listening socket's, settings' descriptor) returns."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = memory(b'log { target = "stderr" }\nsandbox = "auto"\n')
        fd = memory(make(server.fileno(), settings))
        echod = Echod(env={"ECHOD_HANDOVER": str(fd)}, listen=(), wait=False,
                      text='log { target = "stderr" }\n',
                      pass_fds=(server.fileno(), settings, fd))
        os.close(fd)
        os.close(settings)
        echod.addresses = [f"127.0.0.1:{server.getsockname()[1]}"]
        yield echod


def values(server, settings):
    """The least that has to be handed over."""
    return [(REST, 0, "socket_count", 1), (REST, 0, "settings_fd", settings),
            (SOCKET, 0, "fd", server), (SUPERVISOR, 0, "sockets.passed", b"\1")]


@case("of what another program hands over that is taken that is known")
def test_unknown_values():
    def make(server, settings):
        return block([(SUPERVISOR, 0, "unheard_of", 1), (99, 0, "socket_count", 7),
                      (SOCKET, 0, "fd", b"12345678"), (SUPERVISOR, 1, "listener.fd", 0),
                      (TALLY, 99, "closed", bytes(8)), *values(server, settings),
                      (TALLY, 0, "accepted", struct.pack("=Q", 1000)),
                      (TALLY, 0, "closed", struct.pack("=Q", 1000))],
                     lines=b"echod: said before\n\0")

    with handed(make) as echod, echod:
        echod.wait_log("^echod: said before$")
        echod.wait_log(IN_FORCE)
        assert exchange(echod.connect(), b"x") == b"x"
        wait_until(lambda: totals(echod)["closed"] == 1001, "counters go on")


@case("what is damaged ends echod, and what is not sealed is not looked at")
def test_damaged():
    def with_values(*more, **options):
        return lambda server, settings: block([*values(server, settings), *more], **options)

    def generation(**fields):
        known = {"listener_pid": 0, "group": 77777, "wire_version": 1, "table_fd": 0, **fields}
        return with_values((REST, 0, "generation_count", 1),
                           *((GENERATION, 0, *field) for field in known.items()))

    damaged = [
        lambda server, settings: b"",
        lambda server, settings: b"nonsense",
        lambda server, settings: block([]),
        lambda server, settings: block(values(server, 9999)),
        lambda server, settings: block(values(9999, settings)),
        with_values(magic=1),
        with_values(count=3),
        with_values(count=0xffffffff),
        with_values(line_bytes=1),
        with_values(line_bytes=0xffffffff),
        with_values(lines=b"without an end"),
        with_values((REST, 0, "generation_count", -1)),
        generation(),
        generation(group=1),
        generation(group=-5),
        generation(listener_pid=-1),
        generation(state=77),
    ]
    for number, make in enumerate(damaged):
        with handed(make) as echod:
            assert echod.wait() == 1, number
            echod.wait_log("what was handed over cannot be used")
    fd = memory(b"", 0)
    for value in (str(fd), "77", "x", "-1"):
        with Echod(env={"ECHOD_HANDOVER": value}, pass_fds=(fd,)) as echod:
            assert exchange(echod.connect(), b"x") == b"x"
    os.close(fd)


def trade(sock, first, count):
    """Numbered datagrams there and back; none is lost and none comes twice."""
    for number in range(first, first + count):
        sock.send(struct.pack("=Q", number))
    back = sorted(struct.unpack("=Q", sock.recv(100))[0] for _ in range(count))
    assert back == list(range(first, first + count)), back
    return first + count


@case("datagrams go on over upgrades, to another version too, and are lost and doubled by none")
def test_datagrams():
    settings = {"udp": {"rate-per-source": 0}}
    with installed_echod(settings, listen=("127.0.0.1:0", "udp:127.0.0.1:0")) as (echod, path), \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(("127.0.0.1", int(echod.addresses[1].rpartition(":")[2])))
        sent = trade(sock, 0, 16)
        for change in (install, install_other):
            before, mark = sent, echod.log_mark()
            change(path)
            echod.signal(signal.SIGHUP)
            while not any(IN_FORCE in line for line in echod.log()[mark:]):
                sent = trade(sock, sent, 16)
            sent = trade(sock, sent, 16)
            echod.wait_log(TAKES_OVER, since=mark)
            assert sent >= before + 16
            result = run_echoctl("--control", echod.folder + "/control", "--json", "status")
            assert json.loads(result.stdout)["datagrams"]["received"] == sent


main()
