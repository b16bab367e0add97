#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A worker, a listener or the supervisor dies: what was not at fault lives on."""
import os
import signal

from harness import (Echod, case, exchange, is_zombie, main, process_stat, read_exactly,
                     send_and_close, read_to_end, wait_until)


def hold(echod):
    sock = echod.connect()
    sock.sendall(b"held")
    assert read_exactly(sock, 4) == b"held"
    return sock


def worker_of(echod, before):
    """The worker that has come since before."""
    wait_until(lambda: set(echod.worker_pids()) - set(before), "a worker has come")
    return (set(echod.worker_pids()) - set(before)).pop()


def kill_listener(echod, pid):
    """One that accepts as it dies takes that connection along."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in echod.listener_pids(), "it is gone")


@case("a killed worker takes its own connection only and is named in the log")
def test_worker_killed():
    with Echod() as echod:
        for number, end in ((signal.SIGKILL, "killed"), (signal.SIGTERM, "killed"),
                            (signal.SIGSEGV, "crashed"), (signal.SIGABRT, "crashed")):
            neighbour = hold(echod)
            before = echod.wait_workers(1)
            victim = hold(echod)
            worker = worker_of(echod, before)
            mark = echod.log_mark()
            os.kill(worker, number)
            try:
                assert victim.recv(1) == b""
            except ConnectionResetError:
                pass
            victim.close()
            line = echod.wait_log(rf"closed peer=.* worker={worker} .* end=(\w+)", since=mark)[0]
            assert line[1] == end, line[0]
            neighbour.sendall(b"alive")
            assert read_exactly(neighbour, 5) == b"alive"
            neighbour.close()
            wait_until(lambda: not echod.worker_pids() and not echod.zombies(), "all are reaped")


@case("a killed listener is replaced, its connections live on and are accounted")
def test_listener_killed():
    with Echod() as echod:
        held = hold(echod)
        worker = echod.wait_workers(1)[0]
        old = echod.listener_pid
        kill_listener(echod, old)
        assert exchange(echod.connect(), b"new listener") == b"new listener"
        assert echod.listener_pid != old
        held.sendall(b"orphan")
        assert read_exactly(held, 6) == b"orphan"
        send_and_close(held, b"tail")
        assert read_to_end(held) == b"tail"
        held.close()
        line = echod.wait_log(rf"closed peer=.* worker={worker} bytes-in=(\d+) .* end=(\w+)")[0]
        assert line.groups() == ("14", "fin"), line[0]
        wait_until(lambda: not os.path.exists(f"/proc/{worker}"), "the orphan is reaped")


@case("the end of a listener is noticed by an echod whose parent ignored SIGCHLD")
def test_listener_killed_unheard():
    with Echod(preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)) as echod:
        listener = echod.listener_pids()[0]
        os.kill(listener, signal.SIGKILL)
        echod.wait_log(f"listener {listener} was killed by signal 9")
        assert exchange(echod.connect(), b"replaced") == b"replaced"


@case("a listener killed again and again is replaced again and again")
def test_listener_killed_often():
    with Echod() as echod:
        for _ in range(5):
            kill_listener(echod, echod.listener_pid)
            assert exchange(echod.connect(), b"x") == b"x"
        wait_until(lambda: not echod.zombies(), "all are reaped")
        assert len(echod.listener_pids()) == 1


@case("when the supervisor is killed its listener stops, its connections end by themselves")
def test_supervisor_killed():
    echod = Echod()
    held = hold(echod)
    listener, worker = echod.listener_pid, echod.wait_workers(1)[0]
    echod.signal(signal.SIGKILL)
    echod.popen.wait()

    def gone(pid):
        stat = process_stat(pid)
        return not stat or is_zombie(pid)

    try:
        held.sendall(b"drained")
        assert read_exactly(held, 7) == b"drained"
        send_and_close(held, b"")
        read_to_end(held)
        wait_until(lambda: gone(listener) and gone(worker), "listener and worker have ended")
    finally:
        held.close()
        for pid in (listener, worker):
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)


@case("a listener that cannot start is an error before anything is served")
def test_no_listener():
    echod = Echod(env={"ECHOD_LISTENER": "/nonexistent/echod-listener"}, wait=False)
    assert echod.wait() == 1
    assert any("/nonexistent/echod-listener" in line for line in echod.log()), echod.log()


main()
