#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Listening sockets over time: files that others remove, interfaces that come anew."""
import contextlib
import os
import shutil
import socket
import subprocess

from harness import (DEADLINE_S, Echod, Skip, case, connect_to, exchange, foreign, main, program,
                     run_echoctl, temporary_directory, wait_until)

IN_FORCE = "new settings are in force"


def reload(echod, settings=None):
    """A reload that succeeds; returns the log mark from before."""
    mark = echod.reload(settings)
    echod.wait_log(IN_FORCE, since=mark)
    return mark


@contextlib.contextmanager
def public_directory():
    """A folder in which the service user may make sockets."""
    with temporary_directory() as folder:
        os.chmod(folder, 0o777)
        yield folder


@case("a Unix socket whose file was removed is bound again at a reload")
def test_removed():
    with public_directory() as folder:
        path = folder + "/echo"
        with Echod(listen=(f"unix:{path}", "127.0.0.1:0")) as echod:
            for _ in range(2):
                os.unlink(path)
                mark = reload(echod)
                echod.wait_log(f"no longer listening on unix:{path}", since=mark)
                echod.wait_log(f"listening on unix:{path}", since=mark)
                assert exchange(connect_to(f"unix:{path}"), b"again") == b"again"
            before = os.stat(path)
            reload(echod)
            assert os.stat(path) == before, "one that is there stays"
        assert not os.path.exists(path)


@case("a path that another daemon has bound is its own, after an upgrade too")
def test_taken():
    with public_directory() as folder:
        path = folder + "/echo"
        copy = shutil.copy(program("echod"), folder)
        with Echod(listen=(f"unix:{path}",), executable=copy) as echod:
            os.unlink(path)
            with Echod(listen=(f"unix:{path}",)) as other:
                mark = echod.reload()
                echod.wait_log(f"unix:{path}: bind: Address already in use", since=mark)
                echod.wait_log("the old settings stay in force", since=mark)
                os.utime(copy)
                mark = echod.reload()
                echod.wait_log("has changed on disk and takes over", since=mark)
                echod.wait_log("the old settings stay in force", since=mark)
                assert echod.stop() == 0
                assert exchange(other.connect(), b"mine") == b"mine"


def status(folder):
    return run_echoctl("--control", folder + "/control", "status").returncode


@case("a control socket whose file was removed is there again after a reload")
def test_control_removed():
    with public_directory() as folder:
        settings = {"control": {"path": folder + "/control"}}
        with Echod(settings) as echod, socket.socket(socket.AF_UNIX) as client:
            client.connect(folder + "/control")
            client.settimeout(DEADLINE_S)
            os.unlink(folder + "/control")
            mark = reload(echod, settings)
            echod.wait_log(f"control: {folder}/control is there again", since=mark)
            assert status(folder) == 0
            client.sendall(b'{"command":"status"}\n')
            assert b'"ok":true' in client.recv(65536), "a client stays connected"
            mark = reload(echod, settings)
            assert not any("there again" in line for line in echod.log()[mark:]), echod.log()
        assert not os.path.exists(folder + "/control")


@case("a control socket that another daemon has put there stays at the end")
def test_control_taken():
    with public_directory() as folder:
        settings = {"control": {"path": folder + "/control"}}
        with Echod(settings) as echod:
            os.unlink(folder + "/control")
            with Echod(settings):
                assert echod.stop() == 0
                assert status(folder) == 0


MAKE_D0 = ("link add d0 type veth peer name e0", "link set e0 up", "link set d0 up",
           "addr add fe80::1/64 dev d0 nodad")
NETWORK = "&&".join(f"ip {line}" for line in ("link set lo up", *MAKE_D0))


def ip_of(echod, *lines):
    for line in lines:
        subprocess.run([foreign("nsenter"), "-n", "-t", str(echod.pid), "ip", *line.split()],
                       check=True)


def echo_over_d0(echod):
    """What echoctl says in the network of echod."""
    result = subprocess.run(
        [foreign("nsenter"), "-n", "-t", str(echod.pid), program("echoctl"), "-q",
         "[fe80::1%d0]:7007"], input=b"x", capture_output=True, timeout=DEADLINE_S, check=False)
    return result.stdout


@case("an address on an interface that was made anew is bound again at a reload")
def test_interface():
    if os.geteuid() != 0:
        raise Skip("needs root")
    foreign("ip")
    network = [foreign("unshare"), "-n", "sh", "-c", NETWORK + '&& exec "$@"', "sh"]
    if subprocess.run([*network, "true"], check=False).returncode:
        raise Skip("no veth")
    with Echod(listen=("[fe80::1%d0]:7007",), command=network) as echod:
        assert echo_over_d0(echod) == b"x"
        ip_of(echod, "link del d0")
        mark = echod.reload()
        echod.wait_log(r"\[fe80::1%d0\]:7007: No such device", since=mark)
        echod.wait_log("the old settings stay in force", since=mark)
        ip_of(echod, "link add other type bridge", *MAKE_D0)
        mark = reload(echod)
        echod.wait_log(r"no longer listening on \[fe80::1%\d+\]:7007", since=mark)
        echod.wait_log(r"listening on \[fe80::1%\d+\]:7007", since=mark)
        wait_until(lambda: echo_over_d0(echod) == b"x", "the new interface is served")


@case("MPTCP is served beside plain TCP; without it in the kernel it is plain TCP, with one line")
def test_multipath():
    with Echod(listen=("mptcp:127.0.0.1:0",)) as echod:
        for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_MPTCP):
            try:
                client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
            except OSError as error:
                raise Skip(f"no MPTCP: {error}") from error
            client.settimeout(DEADLINE_S)
            client.connect(("127.0.0.1", echod.port))
            mark = echod.log_mark()
            assert exchange(client, b"x") == b"x"
            [fields] = echod.closed_connections(1, since=mark)
            assert fields.get("mptcp") == (
                "yes" if protocol == socket.IPPROTO_MPTCP else None), fields
        assert not any("plain TCP" in line for line in echod.log())
    if os.geteuid() != 0:
        raise Skip("needs root")
    network = (foreign("unshare"), "-n", "sh", "-c", "ip link set lo up &&"
               ' echo 0 >/proc/sys/net/mptcp/enabled && exec "$@"', "sh")
    with Echod(listen=("mptcp:localhost:0",), command=network) as echod:
        lines = [line for line in echod.log() if "plain TCP" in line]
        assert lines == ["echod: mptcp:localhost:0: plain TCP, MPTCP is not available: "
                         "Protocol not available"], lines
        result = subprocess.run(
            [foreign("nsenter"), "-n", "-t", str(echod.pid), program("echoctl"), "-q",
             echod.address], input=b"x", capture_output=True, timeout=DEADLINE_S, check=False)
        assert result.stdout == b"x", result


main()
