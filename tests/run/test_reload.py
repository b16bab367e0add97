#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A reload drops nothing: new settings for new connections, the old ones live on."""
import os
import re
import signal
import threading

from harness import (DEADLINE_S, Echod, Skip, case, connect_to, descriptors, exchange, main,
                     read_exactly, read_to_end, random_bytes, render_settings, temporary_directory,
                     wait_until)

RELOADED = r"reloaded|generation"


def listeners_settle(echod, old):
    """Waits until one listener is left, another one than old; returns it."""
    def settled():
        pids = echod.listener_pids()
        return pids if len(pids) == 1 and pids != [old] else None

    return wait_until(settled, "a new listener has taken over")[0]


@case("HUP starts a new listener, and a held connection goes on")
def test_held():
    with Echod() as echod, echod.connect() as held:
        held.sendall(b"before")
        assert read_exactly(held, 6) == b"before"
        worker = echod.wait_workers(1)[0]
        old = echod.listener_pid
        echod.reload()
        wait_until(lambda: old != echod.listener_pid, "a new listener runs")
        assert exchange(echod.connect(), b"new") == b"new"
        held.sendall(b"after")
        assert read_exactly(held, 5) == b"after"
        assert worker in echod.worker_pids()
        held.close()
        listeners_settle(echod, old)


@case("new settings count for new connections")
def test_new_settings():
    with Echod({"timeouts": {"idle": "0"}}) as echod:
        old = echod.listener_pid
        echod.reload({"timeouts": {"idle": "1s"}})
        listeners_settle(echod, old)
        with echod.connect() as sock:
            assert read_to_end(sock) == b""
        assert echod.closed_connections(1)[0]["end"] == "idle"


@case("a bad file is reported with its line, and the old settings stay")
def test_bad_file():
    with Echod() as echod:
        old = echod.listener_pid
        mark = echod.reload(text="limits {\n\tconnections = none\n}\n")
        echod.wait_log(r"echod\.conf:2: .*connections", since=mark)
        assert exchange(echod.connect(), b"x") == b"x"
        assert echod.listener_pids() == [old], "a bad file must not change the generation"
        echod.reload()
        listeners_settle(echod, old)


@case("a missing file is reported, and the old settings stay")
def test_missing_file():
    with Echod() as echod:
        mark = echod.log_mark()
        os.unlink(echod.config)
        echod.signal(signal.SIGHUP)
        echod.wait_log(r"echod\.conf.*No such file", since=mark)
        assert exchange(echod.connect(), b"x") == b"x"


@case("a pipe whose writer is gone is reported, and the old settings stay")
def test_empty_pipe():
    with Echod() as echod:
        old = echod.listener_pid
        mark = echod.log_mark()
        os.unlink(echod.config)
        os.mkfifo(echod.config)
        echod.signal(signal.SIGHUP)
        echod.wait_log(r"echod\.conf.*No data available", since=mark)
        assert exchange(echod.connect(), b"x") == b"x"
        assert echod.listener_pids() == [old], "what cannot be read must not change anything"


@case("a pipe that only root can open is not waited for, whoever holds its other end")
def test_held_pipe():
    if os.geteuid() != 0:
        raise Skip("only root can start it as another user")
    with temporary_directory() as folder:
        os.chmod(folder, 0o755)
        os.mkfifo(folder + "/pipe", 0o600)
        writer = os.open(folder + "/pipe", os.O_RDWR)
        os.write(writer, render_settings({
            "user": "nobody", "log": {"target": "stderr"},
            "control": {"path": folder + "/run/control"}}).encode())
        with Echod(options=("-c", folder + "/pipe"), wait=False) as echod:
            wait_until(lambda: f"{folder}/pipe" in descriptors(echod.pid).values(), "it reads")
            os.close(writer)
            echod.wait_listening()
            writer = os.open(folder + "/pipe", os.O_RDWR)
            mark = echod.log_mark()
            echod.signal(signal.SIGHUP)
            echod.wait_log("pipe: Resource temporarily unavailable", since=mark)
            assert exchange(echod.connect(), b"x") == b"x"
        os.close(writer)


@case("reloads with good and bad files under load lose no connection")
def test_under_load():
    settings = {"limits": {"connections-per-source": 0}, "log": {"connections": "none"}}
    with Echod(settings) as echod:
        stop, failures, counts = threading.Event(), [], [0] * 6

        def client(number):
            data = random_bytes(5000)
            while not stop.is_set():
                try:
                    if exchange(echod.connect(), data) != data:
                        failures.append("wrong echo")
                    counts[number] += 1
                except OSError as error:
                    failures.append(repr(error))

        clients = [threading.Thread(target=client, args=(n,), daemon=True) for n in range(6)]
        for thread in clients:
            thread.start()
        for number in range(12):
            before = sum(counts)
            mark = echod.log_mark()
            if number % 3 == 2:
                echod.reload(text="nonsense = 1\n")
                echod.wait_log(r"echod\.conf:1: ", since=mark)
            else:
                old = echod.listener_pid
                echod.reload(settings)
                wait_until(lambda: old not in echod.listener_pids(), "the old listener has gone")
            wait_until(lambda: sum(counts) > before + 10 or failures, "connections are served")
        stop.set()
        for thread in clients:
            thread.join(DEADLINE_S)
            assert not thread.is_alive(), "a client hangs"
        assert not failures, failures[:5]
        wait_until(lambda: not echod.zombies(), "all are reaped")


@case("a storm of HUPs ends in one listener and loses nothing")
def test_storm():
    with Echod() as echod, echod.connect() as held:
        held.sendall(b"a")
        assert read_exactly(held, 1) == b"a"
        for number in range(40):
            echod.signal(signal.SIGHUP)
            assert exchange(echod.connect(), b"%d" % number) == b"%d" % number
        held.sendall(b"b")
        assert read_exactly(held, 1) == b"b"
        held.close()
        wait_until(lambda: len(echod.listener_pids()) == 1, "one listener is left")
        assert exchange(echod.connect(), b"x") == b"x"


@case("a host name and a group that does not exist are errors of the file at a reload too")
def test_names():
    with Echod({"listen": ["127.0.0.1:0"]}, listen=()) as echod:
        mark = echod.reload({"listen": ["echo.example:7"], "control": {"group": "no-such-group"}})
        echod.wait_log("the old settings stay in force", since=mark)
        log = "\n".join(echod.log()[mark:])
        for wanted in ('listen: "echo.example:7": host names are not looked up, write the address',
                       'control.group: "no-such-group": no such group'):
            assert re.search(rf"^echod: {echod.config}:\d+: {wanted}$", log, re.MULTILINE), log
        assert exchange(echod.connect(), b"x") == b"x"


@case("a user that does not exist is an error at a reload, before a restart finds it")
def test_user():
    with Echod({"listen": ["127.0.0.1:0"]}, listen=()) as echod:
        mark = echod.reload({"listen": ["127.0.0.1:0"], "user": "no-such-user"})
        echod.wait_log(f'{echod.config}:\\d+: user: "no-such-user": no such user$', since=mark)
        echod.wait_log("the old settings stay in force", since=mark)


@case("a changed listen opens the new address and closes the old one")
def test_listen_changed():
    with Echod({"listen": ["127.0.0.1:0"]}, listen=()) as echod:
        first = echod.address
        mark = echod.reload({"listen": ["127.0.0.1:0", "[::1]:0"]})
        echod.wait_log(r"listening on \[::1\]:\d+", since=mark)
        six = echod.wait_log(r"listening on (\[::1\]:\d+)", since=mark)[0][1]
        assert exchange(connect_to(six), b"six") == b"six"
        assert exchange(connect_to(first), b"four") == b"four", "the kept address kept its port"
        echod.reload({"listen": ["[::1]:0"]})
        wait_until(lambda: refused(first), "the old address is closed")
        assert exchange(connect_to(six), b"six") == b"six"


def refused(address):
    try:
        connect_to(address).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:    # it was in the queue of a socket that closed
        pass
    return False


main()
