#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Signals in the moments in which echoctl waits for somebody else."""
import contextlib
import json
import os
import re
import signal
import subprocess
import threading

from harness import DEADLINE_S, case, main, program, temporary_directory, wait_until
from harness_peers import Peer, full_backlog, full_unix_backlog


def interrupted(arguments, ready, number=signal.SIGINT, stdin=subprocess.DEVNULL):
    """echoctl, sent a signal once ready() holds; its status, standard output and error."""
    with subprocess.Popen([program("echoctl"), *arguments], stdin=stdin,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        try:
            wait_until(lambda: ready(client), "it waits")
            client.send_signal(number)
            client.wait(DEADLINE_S)
            out, errors = client.communicate(timeout=DEADLINE_S)
        finally:
            client.kill()
    return client.returncode, out, errors


@contextlib.contextmanager
def silent_peer(path=None):
    """A peer that takes a byte and never answers: (its address, a condition that it has)."""
    taken = threading.Event()

    def handle(connection):
        connection.recv(1)
        taken.set()
        peer.hold(connection)

    with Peer(handle, path) as peer:
        yield peer.address, lambda _: taken.is_set()


def blocking(client):
    """Whether a process has begun to wait for signals."""
    with open(f"/proc/{client.pid}/status", encoding="ascii") as file:
        fields = dict(line.split(":\t", 1) for line in file if ":\t" in line)
    return int(fields["SigBlk"], 16) >> (signal.SIGINT - 1) & 1


def connecting(client):
    """Whether it has begun to connect, too."""
    folder = f"/proc/{client.pid}/fd"
    with contextlib.suppress(FileNotFoundError):    # one that it has just closed
        return blocking(client) and any(os.readlink(f"{folder}/{fd}").startswith("socket:")
                                        for fd in os.listdir(folder))
    return False


@case("every command can be interrupted while it connects, and says so")
def test_connecting():
    with full_backlog() as address:
        for command in ("ping", "halfclose", "trace", "sweep", "load", "idle"):
            status, _, errors = interrupted([command, address], connecting)
            assert status == 1 and "Interrupted" in errors, (command, status, errors)
        status, out, _ = interrupted(["check", address], connecting, signal.SIGTERM)
        assert status == 3 and out.startswith("ECHO UNKNOWN - 127.0.0.1 ("), (status, out)


@case("so can one that waits for a Unix socket")
def test_connecting_unix():
    with temporary_directory() as folder, full_unix_backlog(folder + "/full") as address:
        for command in ("send", "ping", "halfclose", "trace", "sweep", "load", "idle"):
            status, _, errors = interrupted([command, "--connect-timeout", "1h", address],
                                            connecting)
            assert status == 1 and "Interrupted" in errors, (command, status, errors)


@case("a signal that asks how it stands ends nothing while there is nothing to tell")
def test_asked():
    with full_backlog() as address:
        for command in ("ping", "load", "idle"):
            status, _, errors = interrupted([command, "--connect-timeout", "1s", address],
                                            connecting, signal.SIGQUIT)
            assert status == 2 and "timed out" in errors, (command, status, errors)
    with silent_peer() as (address, ready):
        status, out, errors = interrupted(["idle", "--timeout", "1s", address], ready,
                                          signal.SIGQUIT)
    assert status == 1 and "no answer in time" in errors, (status, out, errors)


@case("every command ends at its deadline, whatever it waits for")
def test_deadline():
    def drip(connection):
        while data := connection.recv(1):
            connection.sendall(data)
            if peer.done.wait(0.1):
                return

    def status_of(*arguments, stdin=subprocess.DEVNULL):
        return subprocess.run([program("echoctl"), "--json", *arguments], stdin=stdin, text=True,
                              capture_output=True, timeout=DEADLINE_S, check=False)

    with Peer(drip) as peer:
        for command in (["send", "-o", "/dev/null"], ["trace", "-s", "1M"], ["halfclose"],
                        ["sweep", "-s", "1M"]):
            with open("/dev/zero", "rb") as zeros:
                result = status_of("-w", "500ms", *command, peer.address, stdin=zeros)
            assert result.returncode == 1, result
            ends = re.findall(r'"end":"([a-z-]+)"', result.stdout)
            assert ends and set(ends) == {"deadline"}, result
        result = status_of("idle", "-w", "500ms", "--min", "1h", "--max", "1h", peer.address)
        assert result.returncode == 1, result
    with silent_peer() as (address, _):
        result = status_of("load", "-w", "500ms", "--timeout", "1h", address)
        assert json.loads(result.stdout)["event"] == "load_summary", result
        result = status_of("check", "--deadline", "500ms", "-t", "3600", address)
        assert result.returncode == 2 and "no answer in time" in result.stdout, result
    # one that waits for its input, one for a connection, one for the local daemon
    with subprocess.Popen(
            [program("echoctl"), "-w", "300ms", "send", "--repeat", "2", "127.0.0.1:1"],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        assert client.wait(DEADLINE_S) == 1
        assert "not done at the deadline" in client.stderr.read()
    with full_backlog() as address:
        result = status_of("-w", "300ms", "--connect-timeout", "1h", "send", address)
        assert result.returncode == 2 and "timed out" in result.stderr, result
    with temporary_directory() as folder, silent_peer(folder + "/control"):
        result = status_of("-w", "300ms", "--control", folder + "/control", "list")
        assert result.returncode == 2 and "does not answer in time" in result.stderr, result


@case("so can send while it reads what it is to repeat, and has its summary all the same")
def test_spooling():
    for number in (signal.SIGINT, signal.SIGTERM):
        # The pipe stays open until the command has ended.
        status, out, errors = interrupted(["--json", "send", "--repeat", "2", "127.0.0.1:1"],
                                          blocking, number, subprocess.PIPE)
        assert status == 1, (status, out, errors)
        summary = json.loads(out)
        assert summary["event"] == "send" and summary["end"] == "interrupted", summary
        assert summary["host"] == "127.0.0.1" and summary["address"] is None, summary
        assert summary["bytes_sent"] == 0 and summary["run"] == 1, summary
        assert re.fullmatch(r"echoctl: interrupted\nechoctl: 127\.0\.0\.1: 0 bytes sent, "
                            r"0 received, not verified, .*\n",
                            errors), errors


@case("check says that it was interrupted, not that the target is at fault")
def test_check():
    with silent_peer() as (address, ready):
        status, out, _ = interrupted(["check", address], ready, signal.SIGTERM)
    assert status == 3, (status, out)
    assert out == f"ECHO UNKNOWN - {address}: echo: interrupted after 0 of 64 bytes\n", out


@case("idle says that no silence was tried, not that there was no answer")
def test_idle():
    with silent_peer() as (address, ready):
        status, out, errors = interrupted(["idle", "--timeout", "1h", address], ready)
    assert (status, out) == (1, f"{address}: no silence was tried to its end\n"), (out, errors)
    assert errors == "", errors


@case("every command to the local daemon can be interrupted while it waits, and says so")
def test_control():
    with temporary_directory() as folder:
        for command in (["status"], ["list"], ["kill", "1.1"], ["reload"], ["drain"],
                        ["log-level", "info"], ["metrics"]):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
                path = f"{folder}/{command[0]}-{number}"
                with silent_peer(path) as (_, ready):
                    result = interrupted(["--control", path, "--connect-timeout", "1h", *command],
                                         ready, number)
                assert result == (1, "", "echoctl: interrupted\n"), (command, number, result)


main()
