#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Standard streams of echoctl: those that fail, that are slow, and what a terminal is shown."""
import array
import fcntl
import json
import os
import pty
import re
import subprocess
import termios
import threading

from harness import (DEADLINE_S, Echod, case, main, process_stat, program, run_echoctl,
                     temporary_directory, wait_until)
from harness_peers import Peer, echo
from harness_terminal import Terminal


def leave(arguments, address, gone=None):
    """Reads the first line only, then sets gone; the command has to end, and say nothing of it."""
    with subprocess.Popen([program("echoctl"), *arguments, address], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        try:
            assert client.stdout.readline()
            client.stdout.close()
            if gone:
                gone.set()
            status = client.wait(DEADLINE_S)
        finally:
            client.kill()
        errors = client.stderr.read()
        assert status == 4, (arguments, status, errors)
        assert b"standard output" not in errors, (arguments, errors)


@case("a command that goes on for long ends when nobody reads its results")
def test_reader_gone():
    with Echod() as echod:
        for arguments in (("ping", "-i", "10ms"), ("--json", "ping", "-i", "10ms"),
                          ("idle", "--min", "10ms", "--max", "1h"),
                          ("--json", "load", "-c", "1", "--rate", "50", "-d", "1h", "--progress"),
                          ("--json", "send", "--repeat", "1000000000")):
            leave(arguments, echod.address)
    gone = threading.Event()

    def when_gone(connection):
        gone.wait(DEADLINE_S)
        echo(connection)
    # A sweep is over soon: it must not be before its reader has left.
    with Peer(when_gone) as peer:
        leave(("sweep", "--drain-timeout", "30s"), peer.address, gone)


@case("nobody reads: no command says anything of that")
def test_nobody_reads():
    with Echod() as echod:
        control = ("--control", echod.folder + "/control")
        address = echod.address
        for arguments in (("ping", "-c", "2", "-i", "10ms", address), ("check", address),
                          ("halfclose", address), ("trace", address),
                          ("sweep", "-s", "1", address), ("load", "-n", "10", address),
                          ("idle", "--min", "10ms", "--max", "20ms", address),
                          ("status",), ("list",), ("list", "-w"), ("metrics",), ("reload",),
                          ("log-level", "info"), ("help",), ("help", "ping"), ("--version",),
                          ("drain",)):
            read_fd, write_fd = os.pipe()
            os.close(read_fd)
            with os.fdopen(write_fd, "wb") as nobody:
                result = subprocess.run([program("echoctl"), *control, *arguments], check=False,
                                        stdin=subprocess.DEVNULL, stdout=nobody,
                                        stderr=subprocess.PIPE, timeout=DEADLINE_S)
            assert result.returncode in (3, 4) and result.stderr == b"", (arguments, result)
        assert echod.wait() == 0


@case("a server that closes at once: every command names where to look, once")
def test_refused():
    hint = "echoctl: closed before any echo: an access list, a limit"
    with Echod({"access": {"deny": ["127.0.0.1/32"]}}) as echod:
        for command in (("send",), ("ping", "-c", "2", "-i", "10ms"), ("check",), ("halfclose",),
                        ("ping", "-c", "2", "-i", "10ms", "--reconnect"), ("trace",),
                        ("sweep", "-s", "1,2"), ("load", "-c", "2", "-n", "2"), ("idle",)):
            result = run_echoctl(*command, echod.address, stdin=b"hello\n")
            assert result.returncode in (1, 2), (command, result)
            assert result.stderr.decode().count(hint) == 1, (command, result)
            result = run_echoctl("-q", *command, echod.address, stdin=b"hello\n")
            assert hint not in result.stderr.decode(), (command, result)
    with Peer(lambda connection: connection.sendall(connection.recv(64)[:8])) as peer:
        result = run_echoctl("check", peer.address)
        assert result.returncode == 2 and not result.stderr, result


@case("no port and no descriptor left: which limit of this host it is")
def test_own_limits():
    result = run_echoctl("ping", "-S", "192.0.2.77", "127.0.0.1:1")
    assert result.returncode == 4, result
    assert b": socket: Cannot assign requested address: no such address here, or no port of " \
        b"net.ipv4.ip_local_port_range is free\n" in result.stderr, result
    with Peer(echo) as peer:
        result = subprocess.run(["sh", "-c", 'ulimit -n 30; exec "$@"', "sh", program("echoctl"),
                                 "load", "-c", "100", "--processes", "1", peer.address],
                                capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert result.returncode == 4 and result.stderr.splitlines() == [
            "echoctl: load: Too many open files: a process may have 30 (ulimit -n)",
            "echoctl: load: each of 1 processes needs about 116"], result


@case("failures alone are red: on a terminal, or if it is asked for")
def test_color():
    red = "\033[31m"
    with Peer(lambda connection: connection.close()) as peer:
        for options, env, wanted in (
                ((), {}, 0), (("--color", "never"), {}, 0), (("--color", "always"), {}, 2),
                (("--color=always",), {"NO_COLOR": "1", "TERM": "dumb"}, 2)):
            result = run_echoctl(*options, "ping", "-c", "1", peer.address,
                                 env=dict(os.environ, **env))
            text = (result.stdout + result.stderr).decode()
            assert text.count(red) == text.count("\033[m") == wanted, (options, result)
        result = run_echoctl("--color", "always", "--json", "check", peer.address)
        assert b"\033" not in result.stdout, result
        assert run_echoctl("--color", "blue", "check", peer.address).returncode == 3
        for env, wanted in (("TERM=xterm", True), ("TERM=dumb", False), ("NO_COLOR=1", False),
                            ("NO_COLOR=", True)):
            with Terminal("env", env, program("echoctl"), "check", peer.address) as terminal:
                terminal.wait("EXIT 2")
                assert (red in terminal.colors()) == wanted, env
    with Echod() as echod:
        result = run_echoctl("--color", "always", "ping", "-c", "1", echod.address)
        assert result.returncode == 0 and b"\033" not in result.stdout + result.stderr, result


@case("a full disk is status 4, and UNKNOWN for check, whose codes are a plugin's")
def test_full():
    with Echod() as echod, open("/dev/full", "wb") as full:
        for arguments, wanted in ((("ping", "-c", "2", "-i", "10ms"), 4), (("halfclose",), 4),
                                  (("trace",), 4), (("sweep", "-s", "1"), 4), (("check",), 3),
                                  (("check", "--help"), 3), (("load", "-n", "10"), 4),
                                  (("idle", "--min", "10ms", "--max", "20ms"), 4),
                                  (("ping", "--help"), 4), (("--version",), 4)):
            for options in ((), ("--json",)):
                result = subprocess.run([program("echoctl"), *options, *arguments, echod.address],
                                        stdin=subprocess.DEVNULL, stdout=full, check=False,
                                        stderr=subprocess.PIPE, timeout=DEADLINE_S)
                assert result.returncode == wanted, (arguments, result)
                assert b"standard output: No space left" in result.stderr, (arguments, result)


@case("closed and unreadable standard streams are local errors")
def test_closed():
    with Peer(echo) as peer:
        for redirection, phrase in ((">&-", b"standard output: Bad file descriptor"),
                                    ("<&-", b"standard input: Bad file descriptor"),
                                    ("</", b"standard input: Is a directory")):
            result = subprocess.run(
                ["sh", "-c", f'"$0" send "$1" {redirection}', program("echoctl"), peer.address],
                input=b"hello\n", capture_output=True, timeout=DEADLINE_S, check=False)
            assert result.returncode == 4 and phrase in result.stderr, (redirection, result)


def pending(fd):
    """How many bytes of a pipe wait to be read."""
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]


@case("a standard output that somebody has made non-blocking is waited for")
def test_nonblocking():
    answer = json.dumps({"event": "metrics", "text": "# a line of metrics\n" * 5000}) + "\n"

    def handle(connection):
        connection.recv(4096)
        connection.sendall(answer.encode())

    with temporary_directory() as folder, Peer(handle, folder + "/control") as peer:
        ours, theirs = os.pipe()
        os.set_blocking(theirs, False)
        with subprocess.Popen([program("echoctl"), "--control", peer.address[len("unix:"):],
                               "metrics"], stdout=theirs, stderr=subprocess.PIPE) as client:
            os.close(theirs)
            wait_until(lambda: pending(ours) >= 65536 and process_stat(client.pid)[1] == "S",
                       "the pipe is full, and waited for")
            with os.fdopen(ours, "rb") as reader:
                text = reader.read()
            assert client.wait(DEADLINE_S) == 0, client.stderr.read()
        assert len(text) == 100000, len(text)


@case("what comes from an argument or from a peer does not steer the terminal")
def test_escapes():
    for arguments in (("a\x1b[31mb c",), ("check", "a\x1b[31mb c"), ("\x1b[31m", "localhost"),
                      ("send", "-o", "/nonexistent/\x1b[31m", "localhost"),
                      ("--control", "/nonexistent/\x1b[31m", "status")):
        result = run_echoctl(*arguments)
        output = result.stdout + result.stderr
        assert result.returncode > 0 and rb"\x1b[31m" in output and b"\x1b" not in output, result
    # The same in one character (ECMA-48, CSI), which a terminal that reads UTF-8 obeys, too.
    result = run_echoctl("ping", "unix:/nonexistent/\x9b31m\xe9")
    assert rb"/nonexistent/\xc2\x9b31m" + "\xe9".encode() in result.stderr, result


def run_dumb(*arguments):
    """All that a command writes to a terminal that knows no escape codes."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([program("echoctl"), *arguments], stdin=theirs, stdout=theirs,
                          stderr=theirs, env=dict(os.environ, TERM="dumb")) as client:
        os.close(theirs)
        text = b""
        with os.fdopen(ours, "rb", buffering=0) as reader:
            while True:
                try:
                    text += reader.read(65536)
                except OSError:     # how the end looks
                    break
        assert client.wait(DEADLINE_S) == 0, text
    return text


@case("a dumb terminal gets no escape codes and no line that would be rewritten")
def test_dumb():
    with Peer(echo) as peer:
        for arguments in (("load", "-d", "1200ms", "-c", "1"),
                          ("idle", "--min", "10ms", "--max", "1200ms")):
            text = run_dumb(*arguments, peer.address)
            assert b"\x1b" not in text and b"\r" not in text.replace(b"\r\n", b""), text


@case("a line of progress is cut at the width of the terminal")
def test_narrow():
    with Peer(echo) as peer, Terminal(program("echoctl"), "idle", "--min", "1h", "--max", "1h",
                                      peer.address, width=30) as terminal:
        screen = terminal.wait(r"[2-9] s: 1 connection")
        assert len(screen) == 1, screen
        terminal.press("C-c")
        terminal.wait("EXIT 1")
    with Peer(echo) as peer, Terminal(program("echoctl"), "load", "-d", "1h", "-c", "1",
                                      peer.address, width=40) as terminal:
        screen = terminal.wait(r"  [2-9] s  1 open")
        assert len(screen) == 1, screen
        terminal.press("C-c")
        screen = terminal.wait("EXIT 0")
        bars = [line for line in screen if re.search(r"[mun]?s - ", line)]
        assert bars and all(re.search(r" - .* \d+ *[█▏▎▍▌▋▊▉]*$", line) for line in bars), screen


@case("a target that refuses leaves no table behind, and each block of load has a heading")
def test_headings():
    result = run_echoctl("sweep", "127.0.0.1:1")
    assert (result.returncode, result.stdout) == (2, b""), result
    with Peer(echo) as peer:
        lines = run_echoctl("load", "-d", "300ms", "-c", "2", "--rate", "100", "--reconnect",
                            peer.address).stdout.decode().splitlines()
        chart = next(at for at, line in enumerate(lines) if re.search(r"s - .*%  ", line))
        assert lines[chart - 1].startswith("distribution of the latency from the time"), lines
        assert all(len(line) <= 80 for line in lines), lines
        lines = run_echoctl("trace", peer.address).stdout.decode().splitlines()
        assert all(len(line) <= 80 for line in lines), lines
        lines = run_echoctl("idle", "--min", "10ms", "--max", "1500ms",
                            peer.address).stdout.decode().splitlines()
        assert 5 < len(lines) < 15 and "1.5" in lines[-2], lines


main()
