# SPDX-License-Identifier: MIT
"""The machine, and what the cases ask and do there once echod is installed."""
import atexit
import json
import os
import socket
import threading

from machine import Machine
from harness import (BUILDDIR, DEADLINE_S, SRCDIR, child_pids, connect_to, exchange,
                     processes_of_case, random_bytes, read_exactly, status_fields,
                     wait_until)

ADDRESSES = ("127.0.0.1:7", "[::1]:7")
DROP_IN = "/run/systemd/system/echod.{}.d/test.conf"
CONFIG = "/etc/echod.conf"
DATAGRAMS = ('listen = {"127.0.0.1:7", "udp:127.0.0.1:7"}\n'
             'access { allow = {"127.0.0.0/8"} }\n')

with open(os.path.join(SRCDIR, "etc/echod.conf"), encoding="utf-8") as shipped:
    SHIPPED = shipped.read()

machine = Machine(os.path.join(BUILDDIR, "machine"))
atexit.register(machine.stop)
machine.enter_network()


class Journal:
    """Shown when a case fails, as the harness shows the log of a process."""

    name = "echod in the journal"

    def __init__(self):
        self._since = cursor()

    def log(self):
        """What echod and systemd have said about it since."""
        return machine.run("journalctl", "-q", "-u", "echod.*", "-n", "60", "-o", "short-precise",
                           f"--after-cursor={self._since}", check=False).stdout.splitlines()

    def kill(self):
        """Nothing to end."""


def fresh():
    """As after the installation: shipped settings, nothing runs."""
    processes_of_case.append(Journal())
    machine.systemctl("stop", "echod.service", "echod.socket", check=False)
    for kind in ("service", "socket"):
        if os.path.exists(machine.path(DROP_IN.format(kind))):
            os.unlink(machine.path(DROP_IN.format(kind)))
    machine.write(CONFIG, SHIPPED)
    machine.systemctl("daemon-reload")
    machine.systemctl("reset-failed", "echod.service", "echod.socket", check=False)


def drop_in(kind, text):
    machine.write(DROP_IN.format(kind), text)
    machine.systemctl("daemon-reload")


def state(unit="echod.service"):
    return machine.show("ActiveState", unit)


def wait_active():
    """It may echo before systemd has heard that it is ready, and reloads after systemctl."""
    wait_until(lambda: state() == "active", "the service is active")


def main_pid():
    """The supervisor's process id, seen from outside."""
    inner = machine.show("MainPID")
    for pid in supervisors():
        if status_fields(pid).get("NSpid", "").split()[-1:] == [inner]:
            return pid
    return None


def supervisors():
    """Processes of systemd's that run echod."""
    found = []
    for pid in child_pids(machine.leader):
        try:
            if os.path.basename(os.readlink(f"/proc/{pid}/exe").split(" ")[0]) == "echod":
                found.append(pid)
        except OSError:
            pass
    return found


def is_replaced(pid):
    """Whether the program of this process stands on the disk no more; None: there is none."""
    try:
        return "deleted" in os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return None


def listener_pid():
    return wait_until(lambda: child_pids(main_pid()), "the listener runs")[-1]


def hold():
    sock = connect_to(ADDRESSES[0])
    sock.sendall(b"held")
    assert read_exactly(sock, 4) == b"held"
    return sock


def echoes():
    for address in ADDRESSES:
        data = random_bytes(20000)
        assert exchange(connect_to(address), data) == data, address


def datagram_client():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(DEADLINE_S)
    sock.connect(("127.0.0.1", 7))
    return sock


def answers(sock, size=1472):
    """Whether a datagram comes back; False: the port is closed. None lost: there is no second."""
    data = random_bytes(size)
    try:
        sock.sendall(data)
        return sock.recv(size + 1) == data
    except ConnectionRefusedError:
        return False


def refused(address=ADDRESSES[0]):
    try:
        connect_to(address).close()
    except ConnectionRefusedError:
        return True
    return False


def cursor():
    """A place in the journal."""
    machine.run("journalctl", "--sync", check=False)
    text = machine.run("journalctl", "-q", "-n", "1", "-o", "json").stdout.strip()
    return json.loads(text.splitlines()[-1])["__CURSOR"]


def journal(since, *matches):
    """Entries of echod's unit after the cursor, as dictionaries."""
    output = machine.run("journalctl", "-q", "-u", "echod.service", "-o", "json",
                         f"--after-cursor={since}", *matches, check=False).stdout
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def wait_journal(since, predicate, what):
    def look():
        return [entry for entry in journal(since) if predicate(entry)]
    return wait_until(look, what)


class Clients:
    """Threads that connect and echo all the time; a refused connection is a failure, or not."""

    def __init__(self, count=3, refusals=False):
        self.failures, self.served = [], 0
        self._refusals = refusals
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _work(self):
        while not self._stop.is_set():
            try:
                sock = connect_to(ADDRESSES[0])
            except OSError as error:
                if not self._refusals:
                    self.failures.append(repr(error))
                continue
            try:
                exchange(sock, b"x" * 100)
                self.served += 1
            except OSError:
                pass    # a connection that the killed daemon had taken may be lost

    def more(self, count=20):
        before = self.served
        wait_until(lambda: self.served > before + count, "connections are served")

    def finish(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        assert not self.failures, self.failures[:3]
        assert self.served


class DatagramClients(Clients):
    """Threads that send one datagram after the other; one that does not come back is a failure."""

    def _work(self):
        with datagram_client() as sock:
            while not self._stop.is_set():
                try:
                    assert answers(sock), "refused, or changed"
                    self.served += 1
                except (OSError, AssertionError) as error:
                    self.failures.append(repr(error))
                    return
