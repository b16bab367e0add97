#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Want of descriptors and of room in files: the echo waits or goes on with less, nothing spins."""
import contextlib
import errno
import os
import resource
import signal
import subprocess
import time

from harness import (DEADLINE_S, Echod, case, exchange, is_defined, main, note, program,
                     wait_until)
from harness_listener import Listener, echoed
from harness_wire import WIRE

RETRIES = 6
RETRY_S = 0.1       # between two of them


def limit(pid, what, soft):
    """Sets a soft limit of a process; returns the one before."""
    before, hard = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (soft, hard))
    return before


@case("no descriptor for a connection: it waits, is served later; one event, and nothing spins")
def test_descriptors():
    with Listener().ready() as listener:
        held = listener.connect()
        assert echoed(held)
        since = time.monotonic()
        before = limit(listener.pid, resource.RLIMIT_NOFILE, 1)
        late = [listener.connect() for _ in range(3)]
        assert listener.event(WIRE.EVENT_STARVED)["detail"] == errno.EMFILE
        begin, count = time.monotonic(), listener.totals()["starved"]
        wait_until(lambda: listener.totals()["starved"] >= count + RETRIES, "retries")
        retries = listener.totals()["starved"] - count
        elapsed_s = time.monotonic() - begin
        assert retries <= elapsed_s / RETRY_S + 2, (retries, elapsed_s)
        assert echoed(held), "those that are served go on"
        limit(listener.pid, resource.RLIMIT_NOFILE, before)
        for client in late:
            assert echoed(client)
            client.close()
        held.close()
        wait_until(lambda: listener.totals()["fin"] == 4 and listener.live == 0, "all are reaped")
        listener.read_ring()
        events = [event for event in listener.events if event["type"] == WIRE.EVENT_STARVED]
        assert len(events) <= time.monotonic() - since, events      # after the first
        assert listener.is_balanced()


@case("echod starts, serves and reloads with a limit of 64 descriptors")
def test_few_descriptors():
    with Echod(command=("prlimit", "--nofile=64:64")) as echod:
        assert any("RLIMIT_NOFILE is 64" in line for line in echod.log()), echod.log()
        held = echod.connect()
        assert echoed(held)
        echod.popen.send_signal(signal.SIGHUP)
        echod.wait_log("new settings are in force")
        assert echoed(held) and exchange(echod.connect(), b"new") == b"new"


@case("many sockets start and reload, the soft limit is raised for them")
def test_soft_limit():
    most = {"listen": ["127.0.0.1:0"] * 64}
    with Echod(most, listen=(), command=("prlimit", "--nofile=192:4096")) as echod:
        mark = echod.reload(most)
        echod.wait_log("new settings are in force", since=mark)


@contextlib.contextmanager
def memory_group(limit):
    """Folder of a control group with so much memory; None where this machine lets us make none."""
    for top, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                      ("/sys/fs/cgroup", "memory.max")):
        folder = f"{top}/echod-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            os.mkdir(folder)
            try:
                with open(f"{folder}/{name}", "w", encoding="ascii") as file:
                    file.write(str(limit))
            except OSError:
                os.rmdir(folder)
                raise
            break
    else:
        yield None
        return
    yield folder
    with open(f"{folder}/cgroup.procs", encoding="ascii") as file:
        wait_until(lambda: not (file.seek(0), file.read())[1], "the group is empty")
    os.rmdir(folder)


def oom_score(pid):
    with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as file:
        return int(file.read())


@case("when memory is short a worker ends, not the supervisor")
def test_memory():
    with Echod() as echod, echod.connect() as client:
        assert echoed(client)
        expected = min(1000, oom_score(echod.pid) + 300)
        for pid in (echod.listener_pid, *echod.wait_workers(1)):
            assert oom_score(pid) == expected, pid
    if is_defined("INSTRUMENTED"):
        note("the memory of this build is no measure")
        return
    with memory_group(20 << 20) as folder:
        if not folder:
            note("no control group for memory can be made here")
            return

        def enter():
            with open(f"{folder}/cgroup.procs", "w", encoding="ascii") as file:
                file.write(str(os.getpid()))

        with Echod(preexec_fn=enter) as echod, contextlib.ExitStack() as stack:
            end = time.monotonic() + DEADLINE_S
            while not any("signal=KILL" in line for line in echod.log()):
                assert time.monotonic() < end, "nothing was killed"
                with contextlib.suppress(TimeoutError, ConnectionError):
                    client = stack.enter_context(echod.connect())
                    client.settimeout(0.2)
                    for _ in range(64):         # its window is full before
                        client.sendall(bytes(1 << 16))
            assert echod.popen.poll() is None, "the supervisor was killed"


@case("files that may not grow: a start or a reload fails and says so, what runs goes on")
def test_file_size():
    small = {"limits": {"connections": 10}}
    echod = Echod(small, command=("prlimit", "--fsize=4096"), wait=False)
    assert echod.wait() == 1
    assert any("scoreboard: File too large" in line for line in echod.log()), echod.log()
    with Echod(small, command=("prlimit", "--fsize=4194304")) as echod:
        mark = echod.reload({"limits": {"connections": 100000}})
        echod.wait_log("scoreboard: File too large", since=mark)
        assert exchange(echod.connect(), b"still here") == b"still here"
        mark = echod.reload(small)
        echod.wait_log("new settings are in force", since=mark)
    with Echod(small) as echod:
        client = subprocess.run(
            ["prlimit", "--fsize=4096", program("echoctl"), "send", "--output",
             os.path.join(echod.folder, "echo"), echod.address], input=bytes(5000),
            capture_output=True, timeout=DEADLINE_S, check=False)
        assert client.returncode == 4 and b"File too large" in client.stderr, client


main()
