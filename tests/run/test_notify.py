#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What echod tells systemd (sd_notify(3)), read by a socket that stands in for systemd's."""
import contextlib
import os
import re
import signal
import socket
import time

from harness import (DEADLINE_S, Echod, case, exchange, main, read_exactly, temporary_directory,
                     wait_until)


class NotifySocket:
    """Receives the datagrams and keeps their fields."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "notify")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        os.chmod(self.path, 0o777)
        self.messages = []

    def receive(self, deadline_s=DEADLINE_S):
        """The next message as {name: value}, or None after the deadline."""
        self.sock.settimeout(max(deadline_s, 0.001))
        try:
            text = self.sock.recv(4096).decode()
        except TimeoutError:
            return None
        fields = dict(line.split("=", 1) for line in text.splitlines() if line)
        self.messages.append(fields)
        return fields

    def wait_for(self, wanted, deadline_s=DEADLINE_S):
        """The next message that holds NAME=VALUE (or NAME= for any value)."""
        name, _, value = wanted.partition("=")
        end = time.monotonic() + deadline_s
        while (left := end - time.monotonic()) > 0:
            fields = self.receive(left)
            if fields and name in fields and (not value or fields[name] == value):
                return fields
        raise TimeoutError(f"no {wanted}; there came {self.messages}")


def start(notify, **options):
    env = {"NOTIFY_SOCKET": notify.path, **options.pop("env", {})}
    return Echod(env=env, **options)


def served(echod):
    """A new connection gets its echo."""
    with contextlib.suppress(ConnectionError):
        return exchange(echod.connect(), b"x") == b"x"
    return False


@case("READY comes once the port is open, with the status")
def test_ready():
    with temporary_directory() as folder:
        notify = NotifySocket(folder)
        with start(notify) as echod:
            notify.wait_for("READY=1")
            assert exchange(echod.connect(), b"x") == b"x"
            assert not any("STOPPING" in message for message in notify.messages)


@case("no READY when the start fails")
def test_not_ready():
    with temporary_directory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        notify = NotifySocket(folder)
        taken = "127.0.0.1:%d" % server.getsockname()[1]
        echod = start(notify, listen=(taken,), wait=False)
        assert echod.wait() == 1
        while notify.receive(0):
            pass
        assert not any("READY" in message for message in notify.messages), notify.messages


@case("a reload says RELOADING with its time in one datagram, then READY")
def test_reload():
    with temporary_directory() as folder:
        notify = NotifySocket(folder)
        with start(notify) as echod:
            notify.wait_for("READY=1")
            for text in (None, "nonsense = 1\n"):
                before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
                echod.reload(text=text)
                fields = notify.wait_for("RELOADING=1")
                now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
                assert before_us <= int(fields["MONOTONIC_USEC"]) <= now_us, fields
                notify.wait_for("READY=1")


@case("the end says STOPPING, and at last no status any more")
def test_stopping():
    with temporary_directory() as folder:
        notify = NotifySocket(folder)
        with start(notify) as echod:
            notify.wait_for("READY=1")
            echod.signal(signal.SIGTERM)
            assert notify.wait_for("STOPPING=1")["STATUS"].startswith("draining: 0 active")
            wait_until(lambda: notify.wait_for("STATUS=")["STATUS"] == "", "the status is empty")


@case("STATUS counts connections as systemctl status shows them")
def test_status():
    with temporary_directory() as folder:
        notify = NotifySocket(folder)
        with start(notify) as echod, echod.connect() as sock:
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"
            wait_until(lambda: notify.wait_for("STATUS=")["STATUS"].startswith("1 active"),
                       "the status says 1 active")
            status = notify.messages[-1]["STATUS"]
            assert re.fullmatch(r"1 active \(max \d+\), \d+ served, \d+ refused", status), status


@case("a draining listener that is stopped is ended, so that the ends of its workers are seen")
def test_draining_listener_stopped():
    with temporary_directory() as folder:
        notify = NotifySocket(folder)
        settings = {"limits": {"connections": 1, "at-limit": "refuse"}}
        with start(notify, settings=settings, env={"WATCHDOG_USEC": "2000000"}) as echod:
            with echod.connect() as held:
                held.sendall(b"x")
                assert read_exactly(held, 1) == b"x"
                listener = echod.listener_pid
                mark = echod.reload(settings)
                echod.wait_log("new settings are in force", since=mark)
                os.kill(listener, signal.SIGSTOP)
            echod.wait_log(f"listener {listener} does not answer, it is ended")
            assert echod.closed_connections(1)[0]["end"] == "fin"
            wait_until(lambda: served(echod), "there is room again")
            notify.wait_for("WATCHDOG=1")


@case("a drain does not wait for a listener that is stopped")
def test_stopped_listener_and_drain():
    with temporary_directory() as folder:
        notify = NotifySocket(folder)
        with start(notify, settings={"timeouts": {"drain": "10min"}},
                   env={"WATCHDOG_USEC": "2000000"}) as echod:
            with echod.connect() as held:
                held.sendall(b"x")
                assert read_exactly(held, 1) == b"x"
                os.kill(echod.listener_pid, signal.SIGSTOP)
                echod.signal(signal.SIGTERM)
                echod.wait_log("stopping: 1 active")
            assert echod.wait() == 0
            assert echod.closed_connections(1)[0]["end"] == "fin"


@case("the watchdog is fed while the listener turns, and starves while it is stopped")
def test_watchdog():
    with temporary_directory() as folder:
        notify = NotifySocket(folder)
        with start(notify, env={"WATCHDOG_USEC": "2000000"}) as echod:
            listener = echod.listener_pid
            for _ in range(3):
                notify.wait_for("WATCHDOG=1")
            os.kill(listener, signal.SIGSTOP)
            try:
                # what was under way may still arrive; then two whole periods of silence
                quiet_since = time.monotonic()
                end = quiet_since + DEADLINE_S
                while time.monotonic() - quiet_since < 4:
                    assert time.monotonic() < end, "the watchdog is fed for a stopped listener"
                    message = notify.receive(0.2)
                    if message and "WATCHDOG" in message:
                        quiet_since = time.monotonic()
            finally:
                os.kill(listener, signal.SIGCONT)
            notify.wait_for("WATCHDOG=1")


main()
