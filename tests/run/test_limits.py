#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Limits and timers of echod.conf on the running daemon: what they end, and how they say it."""
import os
import socket
import threading

from harness import (DEADLINE_S, Echod, case, exchange, main, read_exactly, read_to_end,
                     random_bytes, send_and_close, sending, temporary_directory, wait_until)


def hold(echod, index=0):
    """A connection that has echoed once."""
    sock = echod.connect(index)
    sock.sendall(b"held")
    assert read_exactly(sock, 4) == b"held"
    return sock


def is_refused(echod, index=0):
    """True when the daemon closes a new connection without an echo."""
    with echod.connect(index) as sock:
        try:
            sock.sendall(b"x")
            return sock.recv(1) == b""
        except (ConnectionResetError, BrokenPipeError):
            return True


@case("at the limit connections wait in the backlog and are served when one ends")
def test_defer():
    with Echod({"limits": {"connections": 3}}) as echod:
        held = [hold(echod) for _ in range(3)]
        waiting = echod.connect()
        waiting.sendall(b"waits")
        waiting.settimeout(0.5)
        try:
            answer = waiting.recv(5)
        except TimeoutError:
            answer = None
        assert answer is None, "a fourth connection was served"
        assert len(echod.worker_pids()) == 3
        waiting.settimeout(DEADLINE_S)
        held.pop().close()
        assert read_exactly(waiting, 5) == b"waits"
        for sock in (*held, waiting):
            sock.close()


@case("at-limit = refuse closes at once and names the reason")
def test_refuse():
    with Echod({"limits": {"connections": 2, "at-limit": "refuse"}}) as echod:
        held = [hold(echod) for _ in range(2)]
        assert is_refused(echod)
        echod.wait_log(r"refused peer=127\.0\.0\.1:\d+ .*reason=connections\b")
        held.pop().close()
        wait_until(lambda: not is_refused(echod), "there is room again")
        held.pop().close()


@case("connections-per-source refuses the source, not others")
def test_per_source():
    with Echod({"limits": {"connections-per-source": 2}}, listen=("127.0.0.1:0", "[::1]:0")
               ) as echod:
        held = [hold(echod) for _ in range(2)]
        assert is_refused(echod)
        echod.wait_log(r"refused peer=\S+ .*reason=connections-per-source")
        other = socket.socket()
        other.bind(("127.0.0.2", 0))
        other.settimeout(DEADLINE_S)
        other.connect(("127.0.0.1", echod.port))
        assert exchange(other, b"another source") == b"another source"
        assert exchange(echod.connect(1), b"IPv6") == b"IPv6"
        for sock in held:
            sock.close()
        wait_until(lambda: not is_refused(echod), "the source may connect again")


@case("no list refuses a peer of a Unix socket, which has no address")
def test_unix_access():
    with temporary_directory() as folder:
        os.chmod(folder, 0o777)
        with Echod({"access": {"allow": ["192.0.2.1"], "deny": ["127.0.0.0/8"]}},
                   listen=(f"unix:{folder}/echo", "127.0.0.1:0")) as echod:
            assert exchange(echod.connect(), b"served") == b"served"
            assert is_refused(echod, 1)


@case("no limit of a source applies to one that is exempt")
def test_exempt():
    with Echod({"limits": {"connections-per-source": 1, "rate-per-source": 1, "rate-burst": 1,
                           "exempt": ["127.0.0.1"]}}, listen=("127.0.0.1:0", "[::1]:0")) as echod:
        held = [hold(echod) for _ in range(4)]
        held.append(hold(echod, 1))
        assert is_refused(echod, 1), "the other one is not exempt"
        for sock in held:
            sock.close()


@case("rate-per-source refuses a burst and resumes by itself")
def test_rate():
    with Echod({"limits": {"rate-per-source": 1, "rate-burst": 5}}) as echod:
        results = [is_refused(echod) for _ in range(40)]
        assert not results[0] and any(results), results
        echod.wait_log(r"refused peer=\S+ .*reason=rate-per-source")
        wait_until(lambda: not is_refused(echod), "it has resumed")


@case("access lists: the longest prefix wins")
def test_access():
    with Echod({"access": {"allow": ["127.0.0.0/8"], "deny": ["127.0.0.0/30"]}},
               listen=("127.0.0.1:0", "[::1]:0")) as echod:
        assert is_refused(echod)
        assert is_refused(echod, 1), "what no rule allows"
        echod.wait_log(r"refused peer=\S+ .*reason=access")
        other = socket.socket()
        other.bind(("127.0.0.9", 0))
        other.settimeout(DEADLINE_S)
        other.connect(("127.0.0.1", echod.port))
        assert exchange(other, b"allowed") == b"allowed"


@case("an idle connection is ended in an orderly way and named")
def test_idle():
    with Echod({"timeouts": {"idle": "1s"}}) as echod:
        with hold(echod) as sock:
            assert sock.recv(1) == b""
        assert echod.closed_connections(1)[0]["end"] == "idle"


@case("a connection that is used outlives the idle time")
def test_not_idle():
    with Echod({"timeouts": {"idle": "4s"}}) as echod, hold(echod) as sock:
        done = threading.Event()
        for number in range(25):
            sock.sendall(b"%02d" % number)
            assert read_exactly(sock, 2) == b"%02d" % number
            done.wait(0.2)
        send_and_close(sock, b"")
        assert read_to_end(sock) == b""
        assert echod.closed_connections(1)[0]["end"] == "fin"


@case("a peer that does not read is ended by stall, not by idle")
def test_stall():
    with Echod({"timeouts": {"stall": "1s", "idle": "60s"}}) as echod:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(DEADLINE_S)
        sock.connect(("127.0.0.1", echod.port))
        try:
            while True:
                sock.sendall(random_bytes(1 << 16))
        except (ConnectionError, BrokenPipeError):
            pass
        sock.close()
        assert echod.closed_connections(1)[0]["end"] == "stall"


@case("session ends a connection however busy it is")
def test_session():
    with Echod({"timeouts": {"session": "1s"}}) as echod:
        with hold(echod) as sock:
            try:
                while True:
                    sock.sendall(b"busy")
                    if not sock.recv(4):
                        break
            except ConnectionError:
                pass
        assert echod.closed_connections(1)[0]["end"] == "session"


@case("a half-closed transfer that progresses slowly is not ended by a timer")
def test_slow_tail():
    data = random_bytes(3 << 20)    # more than socket buffers hold
    with Echod({"timeouts": {"stall": "3s", "idle": "3s"}}) as echod:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        sock.settimeout(DEADLINE_S)
        sock.connect(("127.0.0.1", echod.port))
        sender = sending(sock, data)
        pace, parts = threading.Event(), []
        while part := sock.recv(100000):
            parts.append(part)
            pace.wait(0.15)
        sender.join(DEADLINE_S)
        sock.close()
        assert b"".join(parts) == data
        assert echod.closed_connections(1)[0]["end"] == "fin"


@case("an empty connection is counted, not logged; log.connections = all shows the start too")
def test_log_lines():
    with Echod({"log": {"connections": "all"}}) as echod:
        assert exchange(echod.connect(), b"") == b""
        assert exchange(echod.connect(), b"x") == b"x"
        echod.wait_log(r"opened peer=127\.0\.0\.1:\d+")
        fields = echod.closed_connections(1)[0]
        assert fields["bytes-in"] == "1", fields


@case("log.max-per-second leaves lines out and says how many")
def test_log_rate():
    with Echod({"log": {"max-per-second": 1}, "limits": {"connections-per-source": 0}}) as echod:
        for _ in range(60):
            assert exchange(echod.connect(), b"x") == b"x"
        line = echod.wait_log(r".*(suppressed|left out).*")[0][0]
        assert any(word.strip(".,=").isdigit() for word in line.replace("=", " ").split()), line
        assert sum(" bytes-in=" in line for line in echod.log()) < 60


main()
