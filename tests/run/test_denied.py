#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The kernel refuses descriptors, processes and memory: nothing spins, nothing is lost."""
import contextlib
import errno
import os
import re
import signal
import socket
import time

from harness import (Echod, Process, Skip, case, descriptors, exchange, main, note, program,
                     random_bytes, read_exactly, run_echoctl, wait_until)
from harness_calls import Denials
from harness_listener import Listener, echoed, fill
from harness_wire import WIRE

RETRIES = 15
RETRY_S = 0.1       # between two of them
WINDOW_S = 10       # of a line in echod's log


@contextlib.contextmanager
def denying(*calls):
    denials = Denials(*calls)
    try:
        yield denials
    finally:
        denials.close()


def starve(call, error):
    """A connection is served while others wait for what the call would give; then all are."""
    with denying(call) as denials, Listener(denials=denials).ready() as listener:
        held = listener.connect()
        assert echoed(held)
        denials.deny(call, error)
        begin = time.monotonic()
        late = [listener.connect() for _ in range(3)]
        for client in late:
            client.sendall(b"late")
        assert listener.event(WIRE.EVENT_STARVED)["detail"] == error
        denials.wait_denied(call, RETRIES)
        assert denials.denied[call] <= (time.monotonic() - begin) / RETRY_S + 2, "it spins"
        assert echoed(held), "those that are served go on"
        denials.allow()
        for client in late:
            assert read_exactly(client, 4) == b"late"
            client.close()
        held.close()
        wait_until(lambda: listener.live == 0, "all are reaped")
        totals = listener.totals()
        assert denials.denied[call] == totals["starved"], (totals, denials.denied)
        assert totals["accepted"] == totals["fin"] == 4 and listener.is_balanced(), totals
        listener.read_ring()
        reports = [event for event in listener.events if event["type"] == WIRE.EVENT_STARVED]
        assert len(reports) <= time.monotonic() - begin + 1, reports


for name, number in (("accept4", errno.ENFILE), ("accept4", errno.EMFILE),
                     ("accept4", errno.ENOBUFS), ("accept4", errno.ENOMEM),
                     ("clone", errno.EAGAIN), ("clone", errno.ENOMEM)):
    case(f"{errno.errorcode[number]} of {name}: connections wait and are served later")(
        lambda name=name, number=number: starve(name, number))


@case("no memory for a bulk transfer: it goes on with what it has")
def test_bulk():
    data = random_bytes(8 << 20)
    for family in (socket.AF_UNIX, socket.AF_INET):
        with denying("mmap") as denials, Listener((family,), denials=denials).ready() as listener:
            denials.deny("mmap", errno.ENOMEM)
            client = listener.connect()
            while not denials.denied["mmap"]:   # it asks once its reads fill the small buffer
                sent = fill(client)
                assert read_exactly(client, sent) == bytes(sent)
            assert exchange(client, data) == data
            assert listener.closed()[0] == "fin"


@case("no close_range(2): a worker holds its connection and nothing else all the same")
def test_close_range():
    for error in (errno.ENOSYS, errno.EPERM):
        with denying("close_range") as denials:
            denials.deny("close_range", error)
            with Listener(denials=denials).ready() as listener, listener.connect() as client:
                assert echoed(client)
                assert denials.denied["close_range"] > 0
                held = descriptors(listener.worker()[1])
                assert list(held) == [0] and "socket" in held[0], held


@case("no system call filter for the listener: auto warns once and goes on, require does not start")
def test_seccomp():
    for mode in ("auto", "require", "strict"):
        with denying("seccomp") as denials:
            denials.deny("seccomp", errno.EINVAL)
            echod = Echod({"sandbox": mode}, listen=("127.0.0.1:0", "udp:127.0.0.1:0"),
                          preexec_fn=denials.install, wait=False)
            denials.serve()
            if mode != "auto":
                assert echod.wait() == 1
                echod.wait_log("cannot start: seccomp filter: Invalid argument")
                continue
            with echod:
                echod.wait_listening(2)
                echod.wait_log("no system call filter, going on without: Invalid argument")
                assert exchange(echod.connect(), b"served") == b"served"
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
                    datagrams.settimeout(30)
                    datagrams.sendto(b"too", ("127.0.0.1", int(echod.addresses[1].split(":")[2])))
                    assert datagrams.recv(100) == b"too"
                assert sum("no system call filter" in line for line in echod.log()) == 1


def started_without(call, mode="auto"):
    """Daemons in this mode of the sandbox for which the call fails; with the error's text."""
    for error in (errno.ENOSYS, errno.EPERM):
        with denying(call) as denials:
            denials.deny(call, error)
            echod = Echod({"sandbox": mode}, preexec_fn=denials.install, wait=False)
            denials.serve()
            yield echod, os.strerror(error)
            assert denials.denied[call] > 0


def serves(echod):
    with echod:
        echod.wait_listening()
        with echod.connect() as client:
            assert echoed(client)


@case("seccomp(2) is forbidden altogether: the same, and off has nothing to say")
def test_any_seccomp():
    for mode in ("require", "strict"):
        for echod, _ in started_without("any seccomp", mode):
            assert echod.wait() == 1
            echod.wait_log("cannot compile the system call filter: "
                           "(Operation not supported|Invalid argument)$")
    for echod, _ in started_without("any seccomp"):
        serves(echod)
        assert sum("no system call filter" in line for line in echod.log()) == 1
    with denying("any seccomp") as denials:
        denials.deny("any seccomp", errno.EPERM)
        echod = Echod({"sandbox": "off"}, preexec_fn=denials.install, wait=False)
        denials.serve()
        serves(echod)
        assert not any("filter" in line for line in echod.log()), echod.log()


@case("no Landlock: every mode of the sandbox serves")
def test_landlock():
    for mode in ("auto", "require", "strict", "off"):
        for echod, _ in started_without("landlock_create_ruleset", mode):
            serves(echod)


@case("no files in memory: nothing starts, and the log names them")
def test_memory_files():
    for echod, error in started_without("memfd_create"):
        assert echod.wait() == 1
        echod.wait_log(f"memory of the scoreboard: {error}$")


@case("no /proc: nothing starts, and the log names what is missed there")
def test_proc():
    unmounted = ("unshare", "--mount", "--propagation", "private", "sh", "-ec",
                 "umount -l /proc; exec \"$@\"", "echod")
    if os.geteuid() != 0:
        raise Skip("only root can be without /proc")
    echod = Echod(command=unmounted, wait=False)
    assert echod.wait() == 1
    echod.wait_log(r"commands for the listener: /proc/self/fd/\d+: No such file or directory$")


@case("the log says it at once, then with the count of a window; totals are exact")
def test_log():
    with denying("accept4") as denials, Echod(preexec_fn=denials.install, wait=False) as echod:
        denials.serve()
        echod.wait_listening()
        denials.deny("accept4", errno.ENFILE)
        with echod.connect() as late:
            late.sendall(b"late")
            lines = echod.wait_log(r"starved errno=ENFILE error=\"Too many open files in system\" "
                                   r"count=(\d+)(?: duration=([\d.]+)s)?$", count=2)
            denials.allow()
            assert read_exactly(late, 4) == b"late"
        note([line[0] for line in lines])
        assert lines[0].groups() == ("1", None), lines[0]
        count, duration = int(lines[1][1]), float(lines[1][2])
        # Twice that: the supervisor's window opens when it gets to know, which may be late.
        assert duration >= WINDOW_S - 1 and count <= 2 * duration / RETRY_S, lines[1]
        assert count > 10, lines[1]
        echod.closed_connections(1)
        mark = echod.log_mark()
        echod.signal(signal.SIGUSR1)
        totals = echod.wait_log(r"totals (.*)", since=mark)[0][1]
        assert re.search(r"active=0 accepted=1 closed=1 refused=0 ", totals), totals
        assert sum("starved " in line for line in echod.log()) <= 3


@case("a drain does not wait for a connection that gets no process: it is refused")
def test_drain_without_processes():
    # a leak checker would need a process at the end
    options = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
    with denying("clone") as denials:
        echod = Echod({"timeouts": {"drain": "10min"}}, preexec_fn=denials.install, wait=False,
                      env=options)
        denials.serve()
        echod.wait_listening()
        denials.deny("clone", errno.EAGAIN)
        with echod.connect() as late:
            echod.wait_log("starved errno=EAGAIN")
            echod.signal(signal.SIGUSR1)
            echod.wait_log("totals active=1 accepted=1 closed=0 refused=0 ")
            echod.signal(signal.SIGTERM)
            echod.wait_log("stopping: 1 active")
            assert late.recv(1) == b""
        assert echod.wait() == 0
        echod.wait_log(r"refused peer=\S+ .*reason=connections$")


@case("a listener that is replaced serves the connection that waits for its process")
def test_replaced_without_processes():
    with denying("clone") as denials, Listener(denials=denials).ready() as listener:
        denials.deny("clone", errno.EAGAIN)
        with listener.connect() as late:
            late.sendall(b"late")
            listener.event(WIRE.EVENT_STARVED)
            listener.send(WIRE.MESSAGE_STOP, WIRE.STOP_REPLACED)
            assert listener.message()[0] == WIRE.MESSAGE_STOPPED
            denials.wait_denied("clone", denials.denied["clone"] + 2)
            denials.allow()
            assert read_exactly(late, 4) == b"late"
        assert listener.wait() == 0


@case("no descriptors for processes: connections are ended by plain signals")
def test_no_pidfd():
    for error in (errno.ENOSYS, errno.EPERM):
        with denying("pidfd_open") as denials:
            echod = Echod({"timeouts": {"drain": "10min"}}, preexec_fn=denials.install, wait=False)
            denials.serve()
            echod.wait_listening()
            denials.deny("pidfd_open", error)
            with echod.connect() as first, echod.connect() as second:
                assert echoed(first) and echoed(second)
                killed = run_echoctl("--control", echod.folder + "/control", "kill", "1.1")
                assert killed.returncode == 0, killed
                assert first.recv(1) == b""
                echod.signal(signal.SIGTERM)
                echod.wait_log("stopping: ")
                echod.signal(signal.SIGTERM)
                assert second.recv(1) == b""
            assert echod.wait() == 0
            ends = [line["end"] for line in echod.closed_connections(2)]
            assert sorted(ends) == ["drain", "killed"], ends


@case("no descriptors for processes: echoctl load measures all the same")
def test_no_pidfd_load():
    with denying("pidfd_open") as denials, Echod() as echod:
        denials.deny("pidfd_open", errno.ENOSYS)
        load = Process("echoctl", [program("echoctl"), "load", "-c", "2", "--processes", "2", "-n",
                                   "50", echod.address], preexec_fn=denials.install)
        denials.serve()
        assert load.wait() == 0, load.log()


@case("the timer of rate limits is there from the start, before descriptors can be missing")
def test_rate_limit_timer():
    with Echod() as echod:
        folder = f"/proc/{echod.pid}/fdinfo"
        timers = []
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), encoding="ascii") as file:
                timers += re.findall(r"^clockid: (\d+)$", file.read(), re.MULTILINE)
        assert str(time.CLOCK_BOOTTIME) in timers, timers


@case("a supervisor that cannot wait any more says so; what is served goes on")
def test_event_loop():
    with denying("epoll_wait") as denials:
        echod = Echod(preexec_fn=denials.install, wait=False)
        denials.serve()
        echod.wait_listening()
        with echod.connect() as held:
            assert echoed(held)
            denials.deny("epoll_wait", errno.EINVAL)
            echod.signal(signal.SIGUSR1)
            assert echod.wait() == 1
            echod.wait_log(r"the event loop has failed: Invalid argument")
            assert echoed(held)
            held.shutdown(socket.SHUT_WR)
            assert held.recv(1) == b""


main()
