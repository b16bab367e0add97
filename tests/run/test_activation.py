#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Sockets passed by systemd, one connection passed by inetd."""
import ctypes
import os
import re
import signal
import socket
import subprocess

from harness import (DEADLINE_S, RANDOM, Echod, Process, Skip, case, child_pids, connect_to,
                     exchange, foreign, free_port, main, program, random_bytes, read_exactly,
                     read_to_end, render_settings, send_and_close, temporary_directory, wait_until)

SYS_PIDFD_GETFD = 438


def activate(folder, addresses, settings=None, options=(), names=(), arguments=()):
    """echod under systemd-socket-activate with these addresses."""
    tool = foreign("systemd-socket-activate")
    config = os.path.join(folder, "echod.conf")
    with open(config, "w", encoding="utf-8") as file:
        file.write(render_settings({"log": {"target": "stderr"}, **(settings or {})}))
    command = [tool, "-E", "ECHOD_LISTENER"]
    for address in addresses:
        command += ["-l", address]
    if names:
        command.append("--fdname=" + ":".join(names))
    return Process("echod", [*command, *options, program("echod"), "-c", config, *arguments],
                   env=Echod.environment())


def stop(process):
    process.popen.terminate()
    assert process.wait() == 0, "echod did not stop cleanly"


@case("TCP over IPv4, IPv6 and Unix sockets at once, started by the first connection")
def test_passed():
    with temporary_directory() as folder:
        port, port6 = free_port(), free_port(socket.AF_INET6, "::1")
        path = os.path.join(folder, "socket")
        echod = activate(folder, [f"127.0.0.1:{port}", f"[::1]:{port6}", path],
                         names=("four", "six", "unix"))
        echod.wait_log("Listening on", 3)
        assert not any("READY" in line for line in echod.log())
        for address in (f"127.0.0.1:{port}", f"[::1]:{port6}", f"unix:{path}"):
            data = random_bytes(100000)
            assert exchange(connect_to(address), data) == data, address
        echod.wait_log(r"listening on \S+.*", 3)
        stop(echod)
        assert os.path.exists(path), "a passed Unix socket is not ours to unlink"


def passing(listening, settings=None):
    """echod with a listening socket passed as systemd does (sd_listen_fds(3))."""
    shell = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&"$PASSED"'
    return Echod(settings, listen=(), command=("/bin/sh", "-c", shell, "sh"),
                 env={"PASSED": str(listening.fileno())}, pass_fds=[listening.fileno()], wait=False)


def option_of(pid, level, option):
    """A number among the socket options of descriptor 0 of another process."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    fd = libc.syscall(SYS_PIDFD_GETFD, pidfd, 0, 0)
    error = ctypes.get_errno()
    os.close(pidfd)
    if fd < 0:
        raise Skip(f"pidfd_getfd: {os.strerror(error)}")
    with socket.socket(fileno=fd) as sock:
        return sock.getsockopt(level, option)


@case("an MPTCP socket is served, to plain TCP clients with the options that they do not inherit")
def test_mptcp():
    try:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
    except OSError as error:
        raise Skip(f"no MPTCP: {error}") from error
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    with listening, passing(listening, {"timeouts": {"stall": "5s"}}) as echod:
        echod.wait_log("listening on")
        data = random_bytes(3 << 20)
        for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_MPTCP):
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as client:
                client.settimeout(DEADLINE_S)
                client.connect(listening.getsockname())
                client.sendall(b"x")
                assert read_exactly(client, 1) == b"x"
                if protocol == socket.IPPROTO_TCP:
                    pid = echod.wait_workers(1)[0]
                    assert option_of(pid, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 35000
                    assert option_of(pid, socket.SOL_SOCKET, socket.SO_OOBINLINE) == 1
                assert exchange(client, data) == data
        ends = echod.closed_connections(2)
        assert [end["end"] for end in ends] == ["fin", "fin"], ends


@case("passed sockets win over listen, and the warning names the difference")
def test_warning():
    with temporary_directory() as folder:
        port = free_port()
        echod = activate(folder, [f"127.0.0.1:{port}"], {"listen": ["127.0.0.1:9"]})
        echod.wait_log("Listening on")
        assert exchange(connect_to(f"127.0.0.1:{port}"), b"hi") == b"hi"
        warning = echod.wait_log(r".*127\.0\.0\.1:9\b.*")[0][0]
        assert "systemctl" in warning, warning
        stop(echod)


@case("passed sockets that differ: one warning names what does not count and what mends it")
def test_differ():
    for arguments, subject in (([], r"/echod\.conf: listen"), (["-l", "127.0.0.1:9"], "-l")):
        with temporary_directory() as folder:
            path = os.path.join(folder, "socket")
            echod = activate(folder, [path], settings={"listen": ["127.0.0.1:9"]},
                             arguments=arguments)
            echod.wait_log("Listening on")
            assert exchange(connect_to("unix:" + path), b"x") == b"x"
            stop(echod)
            warnings = [line for line in echod.log() if "is ignored" in line]
            assert len(warnings) == 1 and re.search(subject + " is ignored", warnings[0])
            assert ("daemon-reload" in warnings[0]) == (subject != "-l"), warnings
            assert "systemctl restart echod.socket" in warnings[0], warnings


@case("a passed socket that does not listen is named and refused")
def test_not_listening():
    with temporary_directory() as folder:
        echod = activate(folder, [os.path.join(folder, "datagram")], options=("--datagram",))
        echod.wait_log("Listening on")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", os.path.join(folder, "datagram"))
        assert echod.wait() == 1
        assert any("stream" in line or "listen" in line for line in echod.log()[2:]), echod.log()


def inetd(sock, options=("-i",), settings=None, folder=None, listener=None):
    config = os.path.join(folder, "echod.conf")
    with open(config, "w", encoding="utf-8") as file:
        file.write(render_settings({"log": {"target": "stderr"}, **(settings or {})}))
    return subprocess.Popen([program("echod"), "-c", config, *options], stdin=sock, stdout=sock,
                            stderr=subprocess.PIPE, env=Echod.environment(
                                {"ECHOD_LISTENER": listener} if listener else None))


@case("inetd mode serves the TCP connection on descriptor 0 and ends")
def test_inetd_tcp():
    with temporary_directory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        client = connect_to("127.0.0.1:%d" % server.getsockname()[1])
        served, _ = server.accept()
        process = inetd(served, folder=folder)
        served.close()
        data = random_bytes(3 << 20)
        assert exchange(client, data) == data
        assert process.wait(DEADLINE_S) == 0, process.stderr.read()
        log = process.stderr.read().decode()
        assert f"bytes-in={len(data)}" in log and "end=fin" in log, log
        assert "limit" not in log, log


@case("inetd mode serves a Unix socket")
def test_inetd_unix():
    with temporary_directory() as folder:
        client, served = socket.socketpair()
        client.settimeout(DEADLINE_S)
        process = inetd(served, folder=folder)
        served.close()
        send_and_close(client, b"over a socket pair")
        assert read_to_end(client) == b"over a socket pair"
        assert process.wait(DEADLINE_S) == 0, process.stderr.read()


@case("inetd mode turns away whom the access lists refuse, which is no failure")
def test_inetd_refused():
    with temporary_directory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        client = connect_to("127.0.0.1:%d" % server.getsockname()[1])
        served, _ = server.accept()
        process = inetd(served, folder=folder, settings={"access": {"deny": ["127.0.0.0/8"]}})
        served.close()
        assert read_to_end(client) == b""
        assert process.wait(DEADLINE_S) == 0, process.stderr.read()
        log = process.stderr.read().decode()
        assert "reason=access" in log and "not served" not in log, log


@case("inetd mode under systemd-socket-activate --accept --inetd")
def test_inetd_activated():
    with temporary_directory() as folder:
        port = free_port()
        activator = activate_accept(folder, port)
        activator.wait_log("Listening on")
        for _ in range(3):
            data = random_bytes(50000)
            assert exchange(connect_to(f"127.0.0.1:{port}"), data) == data
        activator.popen.terminate()
        activator.wait()


def activate_accept(folder, port):
    tool = foreign("systemd-socket-activate")
    config = os.path.join(folder, "echod.conf")
    with open(config, "w", encoding="utf-8") as file:
        file.write(render_settings({"log": {"target": "stderr"}}))
    return Process("systemd-socket-activate",
                   [tool, "-E", "ECHOD_LISTENER", "--accept", "--inetd", "-l",
                    f"127.0.0.1:{port}", program("echod"), "-i", "-c", config],
                   env=Echod.environment())


@case("inetd mode: the connection outlives its listener, which is missed in the log")
def test_inetd_listener_killed():
    with temporary_directory() as folder:
        client, served = socket.socketpair()
        client.settimeout(DEADLINE_S)
        process = inetd(served, folder=folder)
        served.close()
        client.sendall(b"held")
        assert read_exactly(client, 4) == b"held"
        listener = child_pids(process.pid)[0]
        os.kill(listener, signal.SIGKILL)
        send_and_close(client, b"tail")
        assert read_to_end(client) == b"tail"
        assert process.wait(DEADLINE_S) == 0
        log = process.stderr.read().decode()
        assert f"listener {listener} was killed by signal 9" in log, log
        assert log.count(" closed peer=") == 1 and "bytes-in=8 bytes-out=8" in log, log


@case("inetd mode: TERM drains, a second one ends at once; HUP and USR1 harm nobody")
def test_inetd_signals():
    with temporary_directory() as folder:
        config = os.path.join(folder, "echod.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(render_settings({"log": {"target": "stderr"},
                                        "timeouts": {"drain": "10min"}}))
        client, served = socket.socketpair()
        client.settimeout(DEADLINE_S)
        process = Process("echod", [program("echod"), "-i", "-c", config], stdin=served,
                          env=Echod.environment())
        served.close()
        client.sendall(b"held")
        assert read_exactly(client, 4) == b"held"
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
            process.signal(number)
        process.wait_log("stopping: 1 active")
        client.sendall(b"still served")
        assert read_exactly(client, 12) == b"still served"
        process.signal(signal.SIGINT)
        assert read_to_end(client) == b""
        client.close()
        assert process.wait() == 0, process.log()
        process.wait_log(" closed .* bytes-in=16 bytes-out=16 .* end=drain")


@case("inetd mode without a listener is an error that names it")
def test_inetd_no_listener():
    with temporary_directory() as folder:
        client, served = socket.socketpair()
        process = inetd(served, folder=folder, listener="/nowhere/echod-listener")
        served.close()
        assert process.wait(DEADLINE_S) == 1
        assert b"/nowhere/echod-listener: No such file" in process.stderr.read()
        client.close()


@case("inetd mode without a socket on descriptor 0 is an error")
def test_inetd_no_socket():
    with temporary_directory() as folder, open("/dev/null", "rb") as null:
        process = inetd(null, folder=folder)
        assert process.wait(DEADLINE_S) == 1
        assert b"socket" in process.stderr.read()


@case("a Unix socket file that nobody listens on is replaced, a live one is not")
def test_unix_stale():
    with temporary_directory() as folder:
        os.chmod(folder, 0o777)
        path = os.path.join(folder, f"socket-{RANDOM.getrandbits(32)}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
            stale.bind(path)
        with Echod(listen=(f"unix:{path}",)) as first:
            assert exchange(first.connect(), b"one") == b"one"
            second = Echod(listen=(f"unix:{path}",), wait=False)
            assert second.wait() == 1
            assert any("in use" in line for line in second.log()), second.log()
            assert exchange(first.connect(), b"two") == b"two"
        wait_until(lambda: not os.path.exists(path), "the socket file is gone")


main()
