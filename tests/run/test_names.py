#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The names of targets: localhost, international names, services, any path of a Unix socket."""
import os
import subprocess

from harness import (DEADLINE_S, Echod, Skip, case, foreign, main, program, run_echoctl,
                     temporary_directory)
from harness_peers import Peer, echo, events

UTF8 = {**os.environ, "LC_ALL": "C.UTF-8"}


def with_hosts(hosts, *arguments):
    """echoctl where /etc/hosts is that; nothing else answers for a name."""
    unshare = [foreign("unshare"), "--mount"]
    if os.geteuid() != 0:
        unshare += ["--user", "--map-root-user"]
    if subprocess.run([*unshare, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        raise Skip("namespaces cannot be made here")
    with temporary_directory() as folder:
        files = {"hosts": hosts, "nsswitch.conf": "hosts: files\nservices: files\n"}
        binds = ""
        for name, text in files.items():
            path = os.path.join(folder, name)
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            binds += f"mount --bind {path} /etc/{name} && "
        return subprocess.run([*unshare, "sh", "-c", binds + 'exec "$@"', "sh",
                               program("echoctl"), *arguments], input=b"hello",
                              capture_output=True, timeout=DEADLINE_S, env=UTF8, check=False)


def resolved(result):
    assert result.returncode == 0, result
    return [step["address"] for step in events(result, "trace") if step["phase"] == "resolve"]


@case("localhost is this machine without a line in the hosts file")
def test_localhost():
    with Peer(echo) as peer:
        port = peer.address.rpartition(":")[2]
        for hosts in ("", "192.0.2.1 localhost\n"):
            for name in ("localhost", "LocalHost"):
                result = with_hosts(hosts, "--json", "trace", "-4", f"{name}:{port}")
                assert resolved(result) == [peer.address], result


@case("an address that the hosts file has twice is tried once")
def test_once():
    with Peer(echo) as peer:
        port = peer.address.rpartition(":")[2]
        for name in ("localhost", "echo.test"):
            result = with_hosts(f"127.0.0.1 {name}\n::1 {name}\n",
                                "--json", "trace", "-4", f"{name}:{port}")
            assert resolved(result) == [peer.address], result


@case("an international name is looked up in its ASCII form")
def test_international():
    with Peer(echo) as peer:
        port = peer.address.rpartition(":")[2]
        result = with_hosts("127.0.0.1 xn--bcher-kva.test\n", f"b\u00fccher.test:{port}")
        if b"not correctly encoded" in result.stderr:
            raise Skip("libidn2 is not installed")
    assert (result.returncode, result.stdout) == (0, b"hello"), result


@case("a port may be the name of a service")
def test_service():
    for address, numeric in (("127.0.0.1:echo", "127.0.0.1:7"), ("[::1]:echo", "[::1]:7")):
        result = run_echoctl("--json", "trace", address)
        assert events(result, "trace")[0]["address"] == numeric, result
    for wrong in ("127.0.0.1:no-such-service", "127.0.0.1:", "::echo", "unix:echo"):
        result = run_echoctl(wrong)
        assert result.returncode == 3 and wrong.encode() in result.stderr, result


@case("a Unix socket may have any path")
def test_unix_path():
    for name in ("a b", "line\nfeed", "\u00fc:echo"):
        with temporary_directory() as folder, Peer(echo, path=os.path.join(folder, name)):
            result = run_echoctl(f"unix:{folder}/{name}", stdin=b"hello", env=UTF8)
        assert (result.returncode, result.stdout) == (0, b"hello"), result


main()
