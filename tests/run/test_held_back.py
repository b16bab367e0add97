#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Whoever reads what echod writes may stop: no terminal, pipe or socket holds the supervisor up."""
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import termios

from harness import (DEADLINE_S, Echod, Skip, case, connect_to, descendant_pids, exchange, main,
                     program, read_exactly, render_settings, run_echoctl, temporary_directory,
                     wait_accepts, wait_until)
from harness_calls import Writes

FLOOD = 400         # connections, of two lines each: more than a terminal or a pipe takes
TRICKLE = 64        # bytes: room for a part of a line
BACKGROUND = """
stty tostop <&2
"$@" &
while kill -0 $! 2>/dev/null; do sleep 0.1; done
"""
STRANGER = 65534    # who has no right to open what root has made


class Daemon:
    """echod from a copy that can be upgraded, with a standard error that the test holds."""

    def __init__(self, folder, stderr, settings=None, env=None, command=(), **options):
        self.folder, self.path = folder, folder + "/echod"
        os.chmod(folder, 0o777)
        self.install()
        log = {"target": "stderr", "connections": "all", "max-per-second": 0}
        with open(folder + "/echod.conf", "w", encoding="utf-8") as file:
            file.write(render_settings({"control": {"path": folder + "/control"}, "log": log,
                                        **(settings or {})}))
        self.address = f"unix:{folder}/echo"
        self.popen = subprocess.Popen([*command, self.path, "-c", folder + "/echod.conf", "-l",
                                       self.address, "-l", "udp:127.0.0.1:0"], stderr=stderr,
                                      env=Echod.environment(env), **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in [*descendant_pids(self.popen.pid), self.popen.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.popen.wait()

    def install(self):
        """A new program in the place of the one that runs."""
        shutil.copy(program("echod"), self.path + ".new")
        os.chmod(self.path + ".new", 0o755)
        os.rename(self.path + ".new", self.path)

    def echo(self, count=1):
        for _ in range(count):
            assert exchange(connect_to(self.address), b"x") == b"x"

    def echo_datagrams(self, count=1):
        """The last of them gets no answer."""
        sockets = json.loads(self.control("--json", "status"))["sockets"]
        host, _, port = sockets[1]["address"].removeprefix("udp:").partition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
            sock.settimeout(DEADLINE_S)
            for number in range(count):
                sock.sendto(b"%d" % number, (host, int(port)))
                assert sock.recv(100) == b"%d" % number
            ours.bind(("127.0.0.2", int(port)))
            ours.sendto(b"x", (host, int(port)))

    def control(self, *command):
        result = run_echoctl("--control", self.folder + "/control", *command)
        assert result.returncode == 0, (command, result)
        return result.stdout.decode()

    def upgrade(self):
        program_before = os.stat(f"/proc/{self.popen.pid}/exe").st_ino
        self.install()
        self.control("reload")
        assert os.stat(f"/proc/{self.popen.pid}/exe").st_ino != program_before

    def stop(self, read):
        """TERM; its log is read until it has ended."""
        self.popen.terminate()
        wait_until(lambda: (read(), self.popen.poll() is not None)[1], "it ends")
        assert self.popen.returncode == 0

    def live(self, read):
        """All that it does in a life: load, questions, a reload, an upgrade, the end."""
        wait_accepts(self.address)
        self.echo(20)
        self.echo_datagrams(20)
        with connect_to(self.address) as held, \
                connect_to(f"unix:{self.folder}/control") as reader:
            held.sendall(b"x")
            assert read_exactly(held, 1) == b"x"
            reader.sendall(b'{"command":"metrics"}\n' * 50)     # and never reads
            for command in ("status", "list", "metrics", "reload"):
                self.control(command)
            self.upgrade()
            self.echo(20)
            self.echo_datagrams(20)
        self.popen.send_signal(signal.SIGUSR1)
        self.stop(read)


@contextlib.contextmanager
def terminal():
    """A terminal whose reader is this test: (descriptor of echod, function that reads)."""
    yield from descriptors_of(*os.openpty())


@contextlib.contextmanager
def pipe():
    """The same, a pipe."""
    yield from descriptors_of(*os.pipe())


@contextlib.contextmanager
def stream():
    """The same, a socket, as service managers have it."""
    ours, theirs = socket.socketpair()
    yield from descriptors_of(ours.detach(), theirs.detach())


def descriptors_of(ours, theirs):
    os.set_blocking(ours, False)
    taken = []

    def read(size=1 << 24):
        with contextlib.suppress(BlockingIOError, OSError):     # EIO: nobody has it any more
            while size > 0 and (data := os.read(ours, size)):
                taken.append(data)
                size -= len(data)
        return b"".join(taken).decode().replace("\r", "")

    try:
        yield theirs, read
    finally:
        os.close(ours)
        os.close(theirs)


def observe(kind, **options):
    """Runs a life and judges each write of it."""
    with temporary_directory() as folder, kind() as (stderr, read), \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(folder + "/notify")
        os.chmod(folder + "/notify", 0o777)
        writes = Writes()
        try:
            with Daemon(folder, stderr, {"metrics": {"file": folder + "/echod.prom"}},
                        {"NOTIFY_SOCKET": folder + "/notify", "WATCHDOG_USEC": "1000000"},
                        preexec_fn=writes.install, **options) as daemon:
                writes.pid = daemon.popen.pid
                writes.serve()
                daemon.live(read)
        finally:
            writes.close()
        assert not writes.waiting, (len(writes.waiting), set(writes.waiting))
        return writes.seen, read()


def only_root():
    if os.geteuid() != 0:
        raise Skip("only root can start it as another user")


for kind, letter in ((terminal, "write c"), (pipe, "write p"), (stream, "sendto s")):
    @case(f"{kind.__name__} as standard error: nothing is written that could have to wait")
    def test_writes(kind=kind, letter=letter):
        seen, log = observe(kind)
        assert {letter, "sendto s", "sendmmsg s"} <= seen, seen
        for line in ("datagrams local=udp:", "dropped peer=127.0.0.2:", "stopped\n"):
            assert f"echod: {line}" in log, log


@case("a pipe that echod may not open again: the same")
def test_pipe_of_another():
    only_root()
    seen, log = observe(pipe, user=STRANGER, group=STRANGER, extra_groups=[])
    assert "splice p" in seen, seen
    assert "echod: stopped\n" in log, log


@case("a terminal that echod may not open again gets no line, and that is counted")
def test_terminal_of_another():
    only_root()
    with temporary_directory() as folder, terminal() as (stderr, read):
        with Daemon(folder, stderr, user=STRANGER, group=STRANGER, extra_groups=[],
                    start_new_session=True) as daemon:
            wait_accepts(daemon.address)
            daemon.echo(FLOOD)
            metrics = daemon.control("metrics").splitlines()
            lost = next(line for line in metrics if line.startswith("echod_log_lines_lost_total "))
            assert int(lost.split()[1]) >= FLOOD, lost
        assert not read()


for kind in (terminal, pipe, stream):
    @case(f"{kind.__name__} as standard error whose reader stops: an upgrade, then all is served")
    def test_stopped_reader(kind=kind):
        with temporary_directory() as folder, kind() as (stderr, read), \
                Daemon(folder, stderr) as daemon:
            wait_accepts(daemon.address)
            daemon.upgrade()
            daemon.echo(FLOOD)
            daemon.upgrade()
            for _ in range(30):
                read(TRICKLE)
                daemon.echo()
            daemon.control("status")
            wait_until(lambda: "new settings are in force" in read(), "the log goes on")
            daemon.stop(read)


@case("in the background of a terminal with tostop it is not stopped by a line of its own")
def test_background():
    with temporary_directory() as folder, terminal() as (stderr, read), \
            Daemon(folder, stderr, command=["sh", "-mc", BACKGROUND, "sh"],
                   start_new_session=True,
                   preexec_fn=lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0)) as daemon:
        wait_until(lambda: os.path.exists(folder + "/control"), "it has started")
        daemon.echo(10)
        daemon.control("status")
        wait_until(lambda: "closed peer=" in read(), "its lines are there")
        daemon.control("drain")


@case("a pipe that another writer keeps full does not hold it up")
def test_second_writer():
    with temporary_directory() as folder, pipe() as (stderr, _):
        with subprocess.Popen(["yes"], stdout=stderr) as other, Daemon(folder, stderr) as daemon:
            try:
                wait_accepts(daemon.address)
                for _ in range(3):
                    daemon.echo(10)
                    daemon.upgrade()
            finally:
                other.kill()


@case("a service manager that takes nothing: echod starts, reloads and says so later")
def test_full_notify_socket():
    with temporary_directory() as folder, pipe() as (stderr, _), \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
        manager.bind(folder + "/notify")
        os.chmod(folder + "/notify", 0o777)
        manager.setblocking(False)
        others.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                others.sendto(b"X_FULL=1", folder + "/notify")
        with Daemon(folder, stderr, env={"NOTIFY_SOCKET": folder + "/notify"}) as daemon:
            wait_accepts(daemon.address)
            daemon.echo()
            daemon.control("reload")
            messages = []

            def said():
                with contextlib.suppress(BlockingIOError):
                    while True:
                        messages.append(manager.recv(4096).decode())
                return any(message.startswith("READY=1") for message in messages)
            wait_until(said, "READY=1 comes")
            told = [message.split("=")[0] for message in messages if "X_FULL" not in message]
            assert told[:2] == ["RELOADING", "READY"], messages


main()
