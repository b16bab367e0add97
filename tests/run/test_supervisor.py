#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the supervisor does about listeners that hang, do not start, or pile up."""
import contextlib
import os
import shutil
import signal

from harness import (Echod, case, exchange, main, process_stat, program, read_exactly,
                     run_echoctl, temporary_directory, wait_until)

IN_FORCE = "new settings are in force"


def hold(echod):
    sock = echod.connect()
    sock.sendall(b"held")
    assert read_exactly(sock, 4) == b"held"
    return sock


def install(path, source):
    shutil.copy(source, path + ".new")
    os.chmod(path + ".new", 0o755)
    os.rename(path + ".new", path)


@contextlib.contextmanager
def own_listener(settings=None):
    """echod with a copy of the listener program that a test may spoil."""
    with temporary_directory() as folder:
        path = os.path.join(folder, "echod-listener")
        install(path, program("echod-listener"))
        with Echod(settings, env={"ECHOD_LISTENER": path}) as echod:
            yield echod, path


@case("a listener that hangs cannot hold up the end, its connections are accounted")
def test_hung_at_stop():
    with Echod({"timeouts": {"drain": "0"}}) as echod, hold(echod):
        os.kill(echod.listener_pid, signal.SIGSTOP)
        mark = echod.log_mark()
        assert echod.stop() == 0
        assert echod.closed_connections(1, mark)[0]["end"] == "drain"


@case("orphans are drained like all others")
def test_orphan_drained():
    with Echod({"timeouts": {"drain": "1s"}}) as echod, hold(echod) as held:
        os.kill(echod.listener_pid, signal.SIGKILL)
        echod.wait_log("left its connections behind")
        mark = echod.log_mark()
        assert echod.stop() == 0
        assert echod.closed_connections(1, mark)[0]["end"] == "drain"
        assert held.recv(1) == b"", "an orderly end"


@case("a reload whose listener does not start leaves the old one in force")
def test_reload_fails():
    with own_listener() as (echod, path), hold(echod) as held:
        old = echod.listener_pid
        for broken in ("/bin/false", "/dev/null"):
            install(path, broken)
            mark = echod.reload()
            echod.wait_log("the old settings stay in force", since=mark)
            assert echod.listener_pids() == [old]
            held.sendall(b"x")
            assert read_exactly(held, 1) == b"x"
        install(path, program("echod-listener"))
        mark = echod.reload()
        echod.wait_log(IN_FORCE, since=mark)
        assert echod.listener_pid != old


@case("a first listener that does not start ends the daemon, and nothing else is blamed")
def test_start_fails():
    echod = Echod(env={"ECHOD_LISTENER": "/bin/false"}, wait=False)
    assert echod.wait() == 1
    assert [line.partition(": ")[2] for line in echod.log()][-1] == "the listener did not start"


@case("a listener that cannot be replaced is tried again until it can")
def test_replacement_fails():
    with own_listener() as (echod, path):
        os.chmod(path, 0o644)
        os.kill(echod.listener_pid, signal.SIGKILL)
        echod.wait_log("echod-listener: Permission denied", count=3)
        echod.wait_log(r"a new listener is started in \d+ ms", count=3)
        os.chmod(path, 0o755)
        assert exchange(echod.connect(), b"back") == b"back"


@case("generations are bounded: a further reload waits until an old one has ended")
def test_bounded():
    with Echod() as echod, contextlib.ExitStack() as stack:
        held = []
        for _ in range(7):
            held.append(stack.enter_context(hold(echod)))
            mark = echod.reload()
            echod.wait_log(IN_FORCE, since=mark)
        held.append(stack.enter_context(hold(echod)))
        mark = echod.reload()
        echod.wait_log("waits until one of 8 generations has ended", since=mark)
        assert len(echod.listener_pids()) == 8
        held[3].close()
        echod.wait_log(IN_FORCE, since=mark)
        for index, sock in enumerate(held):
            if index != 3:
                sock.sendall(b"x")
                assert read_exactly(sock, 1) == b"x"


@case("Ctrl-C on the terminal reaches echod, not its listener and workers")
def test_sessions():
    with Echod() as echod, hold(echod):
        pids = [echod.listener_pid, *echod.wait_workers(1)]
        for pid in pids:
            assert os.getsid(pid) != os.getsid(echod.pid)
            assert process_stat(pid)[0] == "echod-listener"


@case("strangers' children are reaped")
def test_strangers():
    with Echod(command=("/bin/sh", "-c", "sleep 0.1 & exec \"$@\"", "sh")) as echod:
        wait_until(lambda: not echod.zombies(), "the child from before is reaped")
        assert exchange(echod.connect(), b"x") == b"x"


SLOW_LISTENER = """#!/bin/sh
read -r line < "$0.go"
exec "$0.real"
"""


@case("connections that come while a new listener starts count against its limit")
def test_limit_over_start():
    settings = {"limits": {"connections": 4, "at-limit": "refuse"}}
    with own_listener(settings) as (echod, path), contextlib.ExitStack() as stack:
        os.rename(path, path + ".real")
        os.mkfifo(path + ".go")
        with open(path, "w", encoding="ascii") as file:
            file.write(SLOW_LISTENER)
        os.chmod(path, 0o755)
        mark = echod.reload(settings)
        echod.wait_log("reload: reading", since=mark)
        with open(path + ".go", "w", encoding="ascii") as go:    # once it reads
            for _ in range(3):
                stack.enter_context(hold(echod))
            go.write("go\n")
        echod.wait_log(IN_FORCE, since=mark)
        stack.enter_context(hold(echod))
        with echod.connect() as late, contextlib.suppress(ConnectionResetError):
            assert late.recv(1) == b"", "one more than the limit is served"


@case("a listener that hangs is replaced, not one whose supervisor was stopped for that long")
def test_hung():
    with Echod() as stopped, Echod() as echod, hold(echod) as held:
        listener = stopped.listener_pid
        stopped.signal(signal.SIGSTOP)
        os.kill(echod.listener_pid, signal.SIGSTOP)
        echod.wait_log(r"listener \d+ does not answer, it is replaced", deadline_s=120)
        stopped.signal(signal.SIGCONT)
        assert exchange(echod.connect(), b"new") == b"new"
        held.sendall(b"orphan")
        assert read_exactly(held, 6) == b"orphan"
        status = run_echoctl("--control", stopped.folder + "/control", "status")
        assert status.returncode == 0, status
        assert stopped.listener_pid == listener, stopped.log()


main()
