#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Two echods behind one HAProxy: what happens to one of them costs the other's clients nothing."""
import contextlib
import ctypes
import functools
import os
import shutil
import signal
import socket
import subprocess

from harness import (DEADLINE_S, SRCDIR, Echod, Process, Skip, case, connect_to, foreign, main,
                     program, read_exactly, temporary_directory, wait_accepts,
                     wait_until)
from harness_peers import events

CLONE_NEWNET = 0x40000000
BALANCER = "127.0.0.1:7"
BACKENDS = {"a": "127.0.0.2:7007", "b": "127.0.0.3:7007"}


@functools.cache
def own_network():
    """This process moves into a network of its own, so that ports and addresses are free."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise Skip("no network namespace of its own: " + os.strerror(ctypes.get_errno()))
    subprocess.run([foreign("ip"), "link", "set", "lo", "up"], check=True)


class Balancer(Process):
    """HAProxy with the settings of doc/scale.md."""

    def __init__(self, folder):
        self.admin = os.path.join(folder, "admin")
        path = os.path.join(folder, "haproxy.cfg")
        with open(os.path.join(SRCDIR, "etc/haproxy/echo.cfg"), encoding="ascii") as file:
            text = file.read()
        for old, new in (("/run/haproxy/admin.sock", self.admin), ("bind :7", f"bind {BALANCER}"),
                         ("192.0.2.11:7", BACKENDS["a"]), ("192.0.2.12:7", BACKENDS["b"])):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        super().__init__("haproxy", [foreign("haproxy"), "-db", "-f", path])
        wait_accepts("unix:" + self.admin)
        wait_accepts(BALANCER)

    def order(self, command):
        """What HAProxy answers on its admin socket."""
        with connect_to("unix:" + self.admin) as sock:
            sock.sendall(command.encode() + b"\n")
            answer = b""
            while part := sock.recv(1 << 16):
                answer += part
            return answer.decode()

    def states(self):
        """{backend: (state, sessions)}"""
        rows = (line.split(",") for line in self.order("show stat echo 4 -1").splitlines()[1:])
        return {row[1]: (row[17], int(row[4])) for row in rows if len(row) > 17}

    def wait_state(self, name, state):
        """Waits until a backend is UP, DOWN, DRAIN, ..."""
        wait_until(lambda: self.states()[name][0].startswith(state), f"{name} is {state}")


class Backend(Echod):
    """One that may die with all of its processes, as a machine does."""
    is_dead = False

    def die(self):
        """SIGKILL for every process of it."""
        self.is_dead = True
        self.kill()

    def stop(self, deadline_s=DEADLINE_S):
        return 0 if self.is_dead else super().stop(deadline_s)


class Load:
    """echoctl load through the balancer; result() ends it and gives its summary."""

    def __init__(self, *options):
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            [program("echoctl"), "--json", "load", "-c", "8", "-d", "1h", "--timeout", "20s",
             "--progress", *options, BALANCER],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.lines = []
        self.more()

    def more(self):
        """Waits for one more second of it with echoes."""
        while line := self.process.stdout.readline():
            self.lines.append(line)
            if b'"messages":0,' not in line:
                return
        raise AssertionError("the load ended: " + repr(self.lines))

    def result(self):
        """The last line of the load."""
        self.process.send_signal(signal.SIGINT)
        out, _ = self.process.communicate(timeout=DEADLINE_S)
        self.process.stdout = b"".join(self.lines) + out
        [summary] = events(self.process, "load_summary")
        return summary


@contextlib.contextmanager
def pair(per_source=0):
    """Two echods, each from a copy of the programs, and the balancer in front."""
    own_network()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temporary_directory())
        echods = {}
        for name, address in BACKENDS.items():
            os.mkdir(os.path.join(folder, name))
            path = os.path.join(folder, name, "echod")
            for source, target in (("echod", path), ("echod-listener", path + "-listener")):
                shutil.copy(program(source), target)
            echods[name] = stack.enter_context(start(address, path, per_source))
            echods[name].path = path
        yield echods, stack.enter_context(balancer(folder))


def settings(per_source=0):
    """Of a backend: HAProxy says who the client is."""
    return {"timeouts": {"drain": "2s"}, "proxy": {"trust": ["127.0.0.1"]},
            "limits": {"connections-per-source": per_source}}


def start(address, path, per_source=0):
    """A backend."""
    return Backend(settings(per_source), listen=[address], executable=path,
                   env={"ECHOD_LISTENER": path + "-listener"})


@contextlib.contextmanager
def balancer(folder):
    running = Balancer(folder)
    try:
        for name in BACKENDS:
            running.wait_state(name, "UP")
        yield running
    finally:
        running.kill()


def hold(count):
    """So many connections through the balancer, in turn to each backend."""
    held = [connect_to(BALANCER) for _ in range(count)]
    assert all(echoes(sock, b"held") for sock in held)
    return held


def echoes(sock, text):
    """False when the connection is gone."""
    with contextlib.suppress(ConnectionError):
        sock.sendall(text)
        return read_exactly(sock, len(text)) == text
    return False


def assert_whole(summary):
    assert summary["messages"] > 0 and not any(summary["errors"].values()), summary


@case("one backend reloads and is upgraded: neither long nor short connections lose a byte")
def test_reload():
    with pair() as (echods, _):
        loads = [Load(), Load("--reconnect")]
        echod = echods["a"]
        mark = echod.reload(settings())
        echod.wait_log("new settings are in force", since=mark)
        for name in ("echod", "echod-listener"):
            target = os.path.join(os.path.dirname(echod.path), name)
            shutil.copy(program(name), target + ".new")
            os.rename(target + ".new", target)
        mark = echod.reload(settings())
        echod.wait_log("takes over", since=mark)
        echod.wait_log("new settings are in force", since=mark)
        for load in loads:
            load.more()
            assert_whole(load.result())


@case("one backend is taken out, drains and comes back: nobody loses a byte")
def test_drain():
    with pair() as (echods, haproxy):
        load = Load("--reconnect")
        haproxy.order("set server echo/a state drain")
        wait_until(lambda: haproxy.states()["a"][1] == 0, "short connections on it have ended")
        assert echods["a"].stop() == 0
        load.more()
        with start(BACKENDS["a"], echods["a"].path) as again:
            haproxy.order("set server echo/a state ready")
            again.wait_log("closed peer=")
            load.more()
            assert_whole(load.result())


@case("the log and the limits of a backend see the client and not the balancer")
def test_client():
    with pair(per_source=20) as (echods, _):
        clients = [socket.create_connection(("127.0.0.1", 7), DEADLINE_S, (f"127.0.1.{i}", 0))
                   for i in range(1, 81)]
        assert all(echoes(sock, b"held") for sock in clients), "one source would have had 20"
        for sock in clients:
            sock.close()
        for echod in echods.values():
            echod.wait_log(r"closed peer=127\.0\.1\.\d+:.* via=127\.0\.0\.1:")


@case("one backend stops: its long connections have the drain time, new ones go to the other")
def test_stop():
    with pair() as (echods, haproxy):
        held = hold(4)
        lost = haproxy.states()["a"][1]
        assert 0 < lost < 4
        haproxy.order("set server echo/a state drain")
        echods["a"].signal(signal.SIGTERM)
        echods["a"].wait_log("stopping: ")
        assert all(echoes(sock, b"drain") for sock in held)
        assert all(echoes(sock, b"new") for sock in hold(4))
        assert echods["a"].wait() == 0
        assert [echoes(sock, b"last") for sock in held].count(True) == 4 - lost


@case("one backend is killed: its connections end, no other one loses a byte")
def test_kill():
    with pair() as (echods, haproxy):
        held = hold(8)
        lost = haproxy.states()["a"][1]
        load = Load("--reconnect")
        echods["a"].die()
        haproxy.wait_state("a", "DOWN")
        assert [echoes(sock, b"on") for sock in held].count(True) == 8 - lost
        load.more()
        summary = load.result()
        assert sum(summary["errors"].values()) <= 8, summary   # those on it then
        load = Load("--reconnect")
        assert_whole(load.result())


main()
