#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Clients of the control socket that are malformed, huge, slow, silent, many, or strangers."""
import contextlib
import json
import os
import pwd
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

from harness import (DEADLINE_S, Echod, Skip, case, exchange, is_defined, limit_descriptors, main,
                     program, read_exactly, temporary_directory, wait_until)

RESET = struct.pack("ii", 1, 0)


def connect(echod):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE_S)
    sock.connect(echod.folder + "/control")
    return sock


def lines(data):
    return [json.loads(line) for line in data.splitlines()]


def read_all(sock):
    """Up to the end; a reset is one too: what was not read of ours was thrown away."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(1 << 16):
            data += part
    return data


def processor_ticks(pid):
    """User and system time of a process, in hundredths of a second."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return sum(int(field) for field in file.read().rpartition(")")[2].split()[11:13])


def ask(echod, data):
    """Sends these bytes, half-closes, reads the answers."""
    with connect(echod) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return lines(read_all(sock))


def assert_alive(echod):
    [answer] = ask(echod, b'{"command":"status"}\n')
    assert answer["event"] == "status" and answer["ok"], answer
    assert exchange(echod.connect(), b"still here") == b"still here"


@case("what is no request is answered with an error, the connection goes on")
def test_malformed():
    with Echod() as echod:
        for line in (b"", b"hello", b"{", b"[]", b"1", b'"status"', b"null", b"{}", b"\xff\xfe",
                     b'{"command":"\xff"}', b'{"command":1}', b'{"command":"fly"}',
                     b'{"command":"status","version":2}', b'{"command":"status","version":"1"}',
                     b'{"command":"kill"}', b'{"command":"kill","id":"1.1","source":"::"}',
                     b'{"command":"kill","id":7}', b'{"command":"kill","id":"-1.1"}',
                     b'{"command":"kill","id":"99999999999999999999.1"}',
                     b'{"command":"kill","source":"10.0.0.1/8"}', b'{"command":"log-level"}',
                     b'{"command":"kill","id":"1"}', b'{"command":"kill","id":"1.2x"}',
                     b'{"command":"log-level","level":"loud"}',
                     b'{"command":"status","command":"status"}', b'{"command":"a\\u0000b"}',
                     b"[" * 4000, b'{"a":' * 700, b"\0" * 100, b"1e999", b"9" * 4000):
            first, second = ask(echod, line + b'\n{"command":"status"}\n')
            assert first["event"] == "error" and not first["ok"] and first["error"], (line, first)
            assert second["event"] == "status", line
        assert_alive(echod)
        # neither a sign nor a number that wraps around is an ID
        with echod.connect() as held:
            held.sendall(b"x")
            assert read_exactly(held, 1) == b"x"
            # the connections before may still be ending
            wait_until(lambda: len(ask(echod, b'{"command":"list"}\n')) == 2, "it is alone")
            [row, _] = ask(echod, b'{"command":"list"}\n')
            generation, connection = map(int, row["id"].split("."))
            for wrong in (f"+{row['id']}", f" {row['id']}", f"{generation}.+{connection}",
                          f"{generation}.-{2**64 - connection}", f"{generation}. {connection}"):
                request = json.dumps({"command": "kill", "id": wrong}).encode()
                [answer] = ask(echod, request + b"\n")
                assert answer["error"].startswith("id: a generation and a connection"), answer
            held.sendall(b"y")
            assert read_exactly(held, 1) == b"y"


@case("a request that is too long is refused, whether it ends or not")
def test_huge():
    with Echod() as echod:
        for size in (4096, 5000, 1 << 22):
            with connect(echod) as sock:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    sock.sendall(b"x" * size)
                [answer] = lines(read_all(sock))
                assert answer["event"] == "error" and "4096" in answer["error"], answer
        [answer] = ask(echod, b" " * 4000 + b'{"command":"status"}\n')
        assert answer["event"] == "status"
        assert_alive(echod)


@case("requests may come in pieces, together, and with the sending half closed")
def test_pieces():
    with Echod() as echod:
        with connect(echod) as sock:
            for byte in b'{"command":"status"}\n':
                sock.sendall(bytes([byte]))
            sock.shutdown(socket.SHUT_WR)
            [answer] = lines(read_all(sock))
            assert answer["event"] == "status"
        answers = ask(echod, b'{"command":"status"}\n{"command":"list"}\n' * 50)
        assert [item["event"] for item in answers] == ["status", "list"] * 50
        assert ask(echod, b'{"command":"status"}') == [], "a line ends with a newline"
        answers = ask(echod, b'{"command":"reload"}\n{"command":"reload"}\n')
        assert [item["ok"] for item in answers] == [True, True], answers


@case("a silent client, and one that does not finish its line, are closed after ten seconds")
def test_silent():
    with Echod() as echod, connect(echod) as silent, connect(echod) as slow:
        start = time.monotonic()
        slow.sendall(b'{"comm')
        assert_alive(echod)
        assert silent.recv(1) == b"" == slow.recv(1)
        assert time.monotonic() - start > 5


@case("clients that vanish in the middle of anything leave nothing behind")
def test_vanishing():
    with Echod() as echod:
        before = len(os.listdir(f"/proc/{echod.pid}/fd"))
        for request in (b"", b'{"comm', b'{"command":"status"}\n', b'{"command":"list"}\n' * 9,
                        b'{"command":"reload"}\n', b"x" * 5000):
            for _ in range(5):
                with connect(echod) as sock, contextlib.suppress(BrokenPipeError):
                    sock.sendall(request)
        wait_until(lambda: len(os.listdir(f"/proc/{echod.pid}/fd")) <= before + 8
                   and len(echod.listener_pids()) == 1, "descriptors are closed")
        assert_alive(echod)
        wait_until(lambda: len(os.listdir(f"/proc/{echod.pid}/fd")) <= before,
                   "descriptors are closed")


@case("at most 32 clients; the next one is told so, and served when one has gone")
def test_many():
    with Echod() as echod, contextlib.ExitStack() as stack:
        first = [stack.enter_context(connect(echod)) for _ in range(32)]
        with connect(echod) as late:
            [answer] = lines(read_all(late))
            assert answer["error"] == "too many clients", answer
        assert exchange(echod.connect(), b"x") == b"x"
        for sock in first:
            sock.sendall(b'{"command":"status"}\n')
            assert read_exactly(sock, 1) == b"{"
        first[7].close()

        def served():
            with contextlib.suppress(ConnectionError):  # closed before we could ask
                answers = ask(echod, b'{"command":"status"}\n')
                return answers and answers[0]["event"] == "status"
            return False
        wait_until(served, "there is room again")


@case("those that have gone before they were accepted take nobody's place")
def test_gone():
    with Echod() as echod:
        assert_alive(echod)     # the socket is there
        echod.signal(signal.SIGSTOP)
        for _ in range(40):
            connect(echod).close()
        with connect(echod) as sock:
            sock.sendall(b'{"command":"status"}\n')
            sock.shutdown(socket.SHUT_WR)
            echod.signal(signal.SIGCONT)
            [answer] = lines(read_all(sock))
        assert answer["event"] == "status", answer


@case("a client that asks for a long list and never reads costs little memory and no time")
def test_unread_list():
    def resident_kib():
        with open(f"/proc/{echod.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    with Echod({"limits": {"connections": 2000, "connections-per-source": 0}}) as echod, \
            contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(echod.connect())
        wait_until(lambda: ask(echod, b'{"command":"status"}\n')[0]["connections"]["live"] == 1000,
                   "all are served")
        with connect(echod) as reader:
            reader.sendall(b'{"command":"list"}\n')
            reader.shutdown(socket.SHUT_WR)
            rows = lines(read_all(reader))
            assert len(rows) == 1001 and rows[-1]["count"] == 1000
            assert len({row["id"] for row in rows[:-1]}) == 1000
        before = resident_kib()
        deaf = [stack.enter_context(connect(echod)) for _ in range(20)]
        for sock in deaf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(b'{"command":"list"}\n' * 100)
        assert_alive(echod)
        # 20 times 1,000 rows of 250 bytes would be 5 MB, and there are 100 requests each.
        # A sanitizer keeps what was freed.
        if not is_defined("INSTRUMENTED"):
            assert resident_kib() - before < 4096, (before, resident_kib())
        before = processor_ticks(echod.pid)
        wait_until(lambda: len(os.listdir(f"/proc/{echod.pid}/fd")) < 30, "they are closed")
        assert processor_ticks(echod.pid) - before < 500, "it span while they did not read"


STRANGER = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[3]))
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(sys.argv[4].encode() + b"\\n")
sock.shutdown(socket.SHUT_WR)
while data := sock.recv(65536):
    sys.stdout.buffer.write(data)
"""


def ask_as(echod, uid, gid, command):
    """One answer to somebody else; None when the mode does not let them in."""
    result = subprocess.run([sys.executable, "-c", STRANGER, echod.folder + "/control", str(gid),
                             str(uid), json.dumps({"command": command})], capture_output=True,
                            timeout=DEADLINE_S, check=False)
    return lines(result.stdout)[-1] if result.returncode == 0 else None


@case("strangers read totals when the mode lets them in; acting takes the group")
def test_roles():
    if os.geteuid() != 0:
        raise Skip("only root can become somebody else")
    control = {"mode": "0660", "group": "daemon"}
    daemon = pwd.getpwnam("daemon")
    games = pwd.getpwnam("games")

    for mode in ("0660", "0666"):
        control["mode"] = mode
        with EchodWithControl(control) as echod:
            for command in ("status", "metrics", "list", "log-level", "kill", "reload"):
                member = ask_as(echod, games.pw_uid, daemon.pw_gid, command)
                assert "not permitted" not in member.get("error", ""), (command, member)
                stranger = ask_as(echod, games.pw_uid, games.pw_gid, command)
                if mode == "0660":
                    assert stranger is None
                elif command in ("status", "metrics"):
                    assert stranger["ok"], stranger
                else:
                    assert stranger["error"] == f"{command}: not permitted", stranger
            # a copy: others may not be let into the build's folder
            client = shutil.copy(program("echoctl"), echod.folder)
            result = subprocess.run(["setpriv", f"--reuid={games.pw_uid}", "--clear-groups",
                                     f"--regid={games.pw_gid}", client, "--control",
                                     echod.folder + "/control", "list"], capture_output=True,
                                    text=True, timeout=DEADLINE_S, check=False)
            assert "not permitted" in result.stderr, result
            assert result.returncode == (2 if mode == "0660" else 1), result


class EchodWithControl(Echod):
    """Its control socket has the usual path and these further keys."""

    def __init__(self, control, **options):
        self.control_keys = control
        super().__init__(**options)

    def write_config(self, settings=None, text=None):
        settings = {"control": {"path": self.folder + "/control", **self.control_keys}}
        super().write_config(settings, text)


@case("another group takes effect at the next start, a program that takes over is none")
def test_group_taken_over():
    if os.geteuid() != 0:
        raise Skip("only root can become somebody else")
    daemon, games = pwd.getpwnam("daemon"), pwd.getpwnam("games")
    with temporary_directory() as folder:
        path = shutil.copy(program("echod"), folder)
        with EchodWithControl({"mode": "0666", "group": "daemon"}, executable=path) as echod:
            echod.control_keys["group"] = "games"
            mark = echod.reload()
            echod.wait_log("new settings are in force", since=mark)
            os.utime(path)
            mark = echod.reload()
            echod.wait_log("has changed on disk and takes over", since=mark)
            echod.wait_log("new settings are in force", since=mark)
            assert ask_as(echod, games.pw_uid, daemon.pw_gid, "list")["ok"]
            assert not ask_as(echod, games.pw_uid, games.pw_gid, "list")["ok"]


@case("when no descriptor is left for clients it does not spin, and serves them later")
def test_no_descriptors():
    with Echod() as echod, contextlib.ExitStack() as stack:
        used = set(map(int, os.listdir(f"/proc/{echod.pid}/fd")))
        limit_descriptors(echod.pid, min(set(range(1024)) - used) + 1)
        stack.enter_context(connect(echod)).sendall(b'{"comm')
        last = stack.enter_context(connect(echod))
        start, before = time.monotonic(), processor_ticks(echod.pid)
        assert exchange(echod.connect(), b"x") == b"x"
        last.sendall(b'{"command":"status"}\n')
        [answer] = lines(last.makefile("rb").readline())    # when the first one has gone
        assert answer["event"] == "status"
        used, passed = processor_ticks(echod.pid) - before, time.monotonic() - start
        assert passed > 2, "the descriptors were to be held"
        assert used < 50 * passed, f"{used} ticks in {passed} s"


@case("without a descriptor to reach a worker by, kill says that and nothing else")
def test_kill_without_descriptors():
    with Echod() as echod, connect(echod) as control, echod.connect() as held:
        held.sendall(b"x")
        assert read_exactly(held, 1) == b"x"
        answers = control.makefile("rb")
        control.sendall(b'{"command":"list"}\n')
        name = json.loads(answers.readline())["id"]
        assert json.loads(answers.readline())["count"] == 1
        used = set(map(int, os.listdir(f"/proc/{echod.pid}/fd")))
        limit_descriptors(echod.pid, min(set(range(1024)) - used))
        for key, value, wanted in (("id", name, f"id: {name}: Too many open files"),
                                   ("id", "1.999", "id: no connection 1.999"),
                                   ("source", "127.0.0.1", "source: 0 connections end, "
                                    "not all of them: Too many open files")):
            control.sendall(json.dumps({"command": "kill", key: value}).encode() + b"\n")
            answer = json.loads(answers.readline())
            assert not answer["ok"] and answer["error"] == wanted, answer
        held.sendall(b"y")
        assert read_exactly(held, 1) == b"y"


main()
