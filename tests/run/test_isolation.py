#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What a worker holds: its connection, and nothing else of the daemon's."""
import fcntl
import os
import signal
import subprocess

from harness import (DEADLINE_S, Echod, case, child_pids, connect_to, descriptors, exchange,
                     is_defined, main, program, read_exactly, render_settings, status_fields,
                     temporary_directory, wait_accepts, wait_until)

SECRETS = {"NOTIFY_SOCKET": "/nonexistent/notify", "WATCHDOG_USEC": "0",
           "ECHOD_TEST_SECRET": "do not leak", "INVOCATION_ID": "0123456789abcdef"}


def hold(echod):
    sock = echod.connect()
    sock.sendall(b"held")
    assert read_exactly(sock, 4) == b"held"
    return sock


@case("a worker holds its connection and no other descriptor")
def test_descriptors():
    with Echod(listen=("127.0.0.1:0", "[::1]:0")) as echod:
        sockets = [hold(echod) for _ in range(3)]
        for worker in echod.wait_workers(3):
            held = descriptors(worker)
            assert len(held) == 1 and list(held.values())[0].startswith("socket:"), held
        for sock in sockets:
            sock.close()


@case("nor does it map the table, or the counters of a datagram process beside it")
def test_table():
    with Echod(listen=("127.0.0.1:0", "udp:127.0.0.1:0")) as echod:
        [datagrams] = wait_until(lambda: child_pids(echod.listener_pid), "its process runs")
        with hold(echod):
            [worker] = set(child_pids(echod.listener_pid)) - {datagrams}
            with open(f"/proc/{worker}/maps", encoding="utf-8") as file:
                maps = file.read()
            assert "echod-slots" in maps and "echod-table" not in maps, maps
            held = descriptors(worker)
            assert len(held) == 1 and list(held.values())[0].startswith("socket:"), held


@case("the listener holds no log, control or notify socket and no file")
def test_listener_descriptors():
    with Echod() as echod:
        listener, supervisor = descriptors(echod.listener_pid), descriptors(echod.pid)
        shared = set(listener.values()) & set(supervisor.values())
        if is_defined("INSTRUMENTED"):
            del listener[2]     # where sanitizers speak
            shared = set(listener.values()) & set(supervisor.values())
        for link in listener.values():
            assert link.startswith(("socket:", "/memfd:", "anon_inode:", "/dev/null")), listener
        assert not any(link.startswith("pipe:") for link in shared), "the log's pipe"


@case("the environment does not reach listener and workers")
def test_environment():
    with Echod(env=SECRETS) as echod, hold(echod):
        for pid in (echod.listener_pid, *echod.wait_workers(1)):
            with open(f"/proc/{pid}/environ", "rb") as file:
                environment = file.read()
            for name in (*SECRETS, "PATH", "HOME"):
                assert name.encode() + b"=" not in environment, (name, environment)


@case("listener and workers have no_new_privs, a seccomp filter and no capability")
def test_sandbox():
    with Echod({"sandbox": "require"}) as echod, hold(echod):
        for pid in (echod.listener_pid, *echod.wait_workers(1)):
            fields = status_fields(pid)
            assert fields["NoNewPrivs"].strip() == "1", pid
            assert fields["Seccomp"].strip() == "2", fields["Seccomp"]
            for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                assert int(fields[name], 16) == 0, (name, fields[name])
            if os.getuid() == 0:
                assert "0" not in fields["Uid"].split() + fields["Gid"].split(), fields["Uid"]


@case("signals that end a process end a worker: none of them is caught, ignored or blocked")
def test_signals():
    with Echod() as echod, hold(echod):
        fields = status_fields(echod.wait_workers(1)[0])
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE,
                       signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU):
            for name in ("SigBlk", "SigIgn", "SigCgt"):
                assert not int(fields[name], 16) & 1 << number - 1, (name, number, fields[name])


@case("a worker may write no file and no core")
def test_limits():
    with Echod() as echod, hold(echod):
        worker = echod.wait_workers(1)[0]
        with open(f"/proc/{worker}/limits", encoding="ascii") as file:
            limits = {line[:26].strip(): line[26:].split() for line in file}
        assert limits["Max core file size"][:2] == ["0", "0"], limits["Max core file size"]
        if not is_defined("COVERAGE"):  # which is written to files
            assert limits["Max file size"][:2] == ["0", "0"], limits["Max file size"]


@case("a log that nobody reads stops nobody's echo")
def test_blocked_log():
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    with temporary_directory() as folder:
        os.chmod(folder, 0o777)
        address = f"unix:{folder}/socket"
        config = os.path.join(folder, "echod.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(render_settings({
                "log": {"target": "stderr", "connections": "all", "max-per-second": 0},
                "control": {"path": folder + "/control"}}))
        echod = subprocess.Popen([program("echod"), "-c", config, "-l", address],
                                 stderr=write_end, env=Echod.environment())
        os.close(write_end)
        try:
            wait_accepts(address)
            for number in range(500):
                assert exchange(connect_to(address), b"%d" % number) == b"%d" % number
            echod.terminate()
            assert echod.wait(DEADLINE_S) == 0
        finally:
            echod.kill()
            echod.wait()
            os.close(read_end)


main()
