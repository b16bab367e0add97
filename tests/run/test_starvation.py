#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Want of descriptors and of room in files: the echo waits or goes on with less, nothing spins."""
import errno
import os
import resource
import signal
import subprocess
import time

from harness import DEADLINE_S, Echod, case, exchange, main, program, wait_until
from harness_listener import Listener
from harness_wire import WIRE

RETRIES = 6
RETRY_S = 0.1       # between two of them


def limit(pid, what, soft):
    """Sets a soft limit of a process; returns the one before."""
    before, hard = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (soft, hard))
    return before


def echoed(client, data=b"echo"):
    client.sendall(data)
    return client.recv(len(data)) == data


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
