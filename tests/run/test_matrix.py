#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
What may happen to the processes, in each state that they may be in. Whatever meets whatever: no
client sees an error, the accounts are right at every look, and at the end nothing is left.
"""
import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import threading

from harness import (Echod, case, connect_to, exchange, main, program, random_bytes, read_exactly,
                     temporary_directory, wait_until)

LIMIT = 3
IN_FORCE = "new settings are in force"
# Its socket is passed, as a service manager passes it to each echod that it starts.
PASS_SOCKET = 'path=$0 fd=$1; shift 2; LISTEN_PID=$$ LISTEN_FDS=1; export LISTEN_PID LISTEN_FDS; ' \
    'exec "$path" "$@" 3<&"$fd"'


class Daemon:
    """echod from copies of its programs."""

    def __init__(self, folder, server):
        self.folder = folder
        self.path = os.path.join(folder, "echod")
        self.server = server
        self.folders = [folder]
        self.killed = 0     # listeners
        os.chmod(folder, 0o777)
        self.install("echod")
        self.install("echod-listener")
        self.echod = None
        self.start()

    def install(self, name, source=None):
        """Puts a program in place as a package manager does: a new file, renamed."""
        path = os.path.join(self.folder, name)
        shutil.copy(source or program(name), path + ".new")
        os.chmod(path + ".new", 0o755)
        os.rename(path + ".new", path)

    def install_script(self, text):
        """A program that is none, in place of echod."""
        with open(self.path + ".script", "w", encoding="ascii") as file:
            file.write("#!/bin/sh\n" + text)
        self.install("echod", self.path + ".script")

    def start(self):
        """One more echod, with the same socket and control socket."""
        self.echod = Echod(
            {"control": {"path": self.folder + "/control"},
             "limits": {"connections": LIMIT, "connections-per-source": 0},
             "timeouts": {"drain": "1m"}, "log": {"connections": "none"}},
            listen=(), env={"ECHOD_LISTENER": self.path + "-listener"},
            command=("sh", "-c", PASS_SOCKET, self.path, str(self.server.fileno())),
            pass_fds=(self.server.fileno(),))
        self.folders.append(self.echod.folder)

    def connect(self):
        return connect_to("127.0.0.1:%d" % self.server.getsockname()[1])

    def hold(self):
        """A connection that was served once."""
        sock = self.connect()
        sock.sendall(b"held")
        assert read_exactly(sock, 4) == b"held"
        return sock

    def status(self):
        """What the control socket says, None while there is none."""
        with contextlib.suppress(OSError), connect_to(f"unix:{self.folder}/control") as control:
            control.sendall(b'{"command":"status"}\n')
            with control.makefile("rb") as answer:
                line = answer.readline()
            return json.loads(line) if line.endswith(b"\n") else None
        return None

    def processes(self):
        """All that run from one of these folders, or in it."""
        folders = tuple(os.path.join(folder, "") for folder in self.folders)
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for link in ("exe", "cwd"):
                with contextlib.suppress(OSError):
                    if (os.readlink(f"/proc/{pid}/{link}") + "/").startswith(folders):
                        found.append(pid)
        return found


class Accounts:
    """Looks at the counters all the time."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.looks = 0
        self.wrong = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _look(self, before):
        status = self.daemon.status()
        if not status:
            return before
        counts = status["connections"]
        ended = sum(counts["closed"].values()) + sum(counts["refused"].values())
        if counts["accepted"] != ended + counts["live"]:
            self.wrong.append(counts)
        now = (status["uptime_ns"], counts["accepted"], ended)
        # a program that took over has the time of its predecessor
        if now[0] > before[0] and (now[1] < before[1] or now[2] < before[2]):
            self.wrong.append((before, now))
        self.looks += 1
        return now

    def _run(self):
        before = (0, 0, 0)
        while not self._is_over.wait(0.002):
            before = self._look(before)

    def wait_look(self):
        """Waits until one more look was taken as a whole."""
        goal = self.looks + 2
        wait_until(lambda: self.looks >= goal, "the counters can be looked at")

    def stop(self):
        self._is_over.set()
        self._thread.join()
        assert not self.wrong, self.wrong[:3]


class Idle:
    """Connections that say nothing while it happens."""

    may_reload = True

    def __init__(self, daemon):
        self.daemon = daemon
        self.held = [daemon.hold() for _ in range(LIMIT - 1)]

    def go_on(self):
        """Fails if a client has seen an error, or is not served as before."""
        for sock in self.held:
            sock.sendall(b"go on")
            assert read_exactly(sock, 5) == b"go on"

    def finish(self):
        """All clients end, each in an orderly way."""
        for sock in self.held:
            assert exchange(sock, b"the end") == b"the end"


class Load(Idle):
    """The same, and one client after the other beside them."""

    def __init__(self, daemon):
        super().__init__(daemon)
        self.served = 0
        self.errors = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait_served()

    def _run(self):
        data = random_bytes(10000)
        while not self._is_over.is_set():
            try:
                assert exchange(self.daemon.connect(), data) == data
                self.served += 1
            except (OSError, AssertionError) as error:
                self.errors.append(error)

    def _wait_served(self):
        goal = self.served + 5
        wait_until(lambda: self.served >= goal, "clients are served")

    def go_on(self):
        self._wait_served()
        super().go_on()

    def finish(self):
        self._is_over.set()
        self._thread.join()
        super().finish()
        # one may be lost with a listener that has accepted it and not forked yet
        assert len(self.errors) <= self.daemon.killed, self.errors


class AtLimit(Idle):
    """As many connections as there may be, and one that waits for its turn."""

    def __init__(self, daemon):
        super().__init__(daemon)
        self.held.append(daemon.hold())
        self.waiting = daemon.connect()
        self.waiting.sendall(b"my turn")

    def finish(self):
        assert exchange(self.held.pop(), b"the end") == b"the end"
        assert read_exactly(self.waiting, 7) == b"my turn"
        self.held.append(self.waiting)
        super().finish()


class Draining(Idle):
    """echod was told to stop and waits for its connections."""

    may_reload = False

    def __init__(self, daemon):
        super().__init__(daemon)
        daemon.echod.signal(signal.SIGTERM)
        daemon.echod.wait_log("stopping: ")


def listener_dies(daemon, _):
    daemon.killed += 1
    os.kill(old := daemon.echod.listener_pid, signal.SIGKILL)
    wait_until(lambda: old not in daemon.echod.listener_pids(), "it is gone")


def supervisor_dies(daemon, _):
    daemon.echod.signal(signal.SIGKILL)
    daemon.echod.wait()
    daemon.start()


def reload(daemon, state, *lines):
    """A reload; lines: what the log says before it is over."""
    mark = daemon.echod.log_mark()
    daemon.echod.signal(signal.SIGHUP)
    if state.may_reload:
        for line in (*lines, IN_FORCE):
            daemon.echod.wait_log(line, since=mark)
    else:
        assert wait_until(daemon.status, "it answers")["draining"]


def upgrade(daemon, state):
    daemon.install("echod")
    reload(daemon, state, "takes over")


def upgrade_to_other(daemon, state):
    for name in ("echod", "echod-listener"):
        daemon.install(name, program("tests/run/other/" + name))
    reload(daemon, state, "takes over", "is of another version")


def upgrade_to_crash(daemon, state):
    daemon.install_script("kill -SEGV $$\n")
    reload(daemon, state, "cannot take over, going on with the old program: Exec format error")


def upgrade_to_hang(daemon, state):
    daemon.install_script("exec sleep 60\n")
    reload(daemon, state, "cannot take over, going on with the old program: .*timed out")


EVENTS = {
    "the listener dies": listener_dies,
    "the supervisor dies": supervisor_dies,
    "a reload": reload,
    "an upgrade": upgrade,
    "an upgrade to another version": upgrade_to_other,
    "an upgrade to a program that crashes": upgrade_to_crash,
    "an upgrade to a program that hangs": upgrade_to_hang,
}
STATES = {
    "idle": Idle,
    "under load": Load,
    "at the limit": AtLimit,
    "draining": Draining,
}


def run(event, make_state):
    with temporary_directory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        daemon = Daemon(folder, server)
        accounts = Accounts(daemon)
        state = make_state(daemon)
        accounts.wait_look()
        event(daemon, state)
        state.go_on()
        accounts.wait_look()
        state.finish()
        accounts.stop()
        assert daemon.echod.stop() == 0
        wait_until(lambda: not daemon.processes(), "no process is left")
        sockets = [name for name in os.listdir(folder)
                   if stat.S_ISSOCK(os.lstat(os.path.join(folder, name)).st_mode)]
        assert not sockets, sockets


for event_name, event_function in EVENTS.items():
    for state_name, state_class in STATES.items():
        case(f"{event_name}, {state_name}")(
            lambda event=event_function, state=state_class: run(event, state))

main()
