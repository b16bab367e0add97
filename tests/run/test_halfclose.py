#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echoctl halfclose: the verdict on servers, and on the real relays that people use."""
import contextlib
import os
import re
import socket
import subprocess

from harness import (DEADLINE_S, Echod, Process, Skip, case, connect_to, foreign, free_port,
                     main, read_exactly, read_to_end, run_echoctl, temporary_directory,
                     unused_address, wait_until)
from harness_peers import Peer, echo, events, flip, reset, swallow

PROXYD = "/lib/systemd/systemd-socket-proxyd"


def halfclose(address, *options):
    """The exit status, the event and the line for people."""
    programs = run_echoctl("--json", "halfclose", *options, address, deadline_s=3 * DEADLINE_S)
    people = run_echoctl("halfclose", *options, address, deadline_s=3 * DEADLINE_S)
    assert people.returncode == programs.returncode, (people, programs)
    assert people.stdout.count(b"\n") == 1, people
    (event,) = events(programs)
    return programs.returncode, event, people.stdout.decode()


def check(address, verdict, *phrases, options=()):
    """One verdict, and what the line for people says."""
    status, event, line = halfclose(address, *options)
    assert event["verdict"] == verdict, event
    assert status == (0 if verdict == "ok" else 1), status
    assert line.startswith(f"{address}: "), line
    for phrase in phrases:
        assert phrase in line, (phrase, line)
    return event


@contextlib.contextmanager
def relay(name, command, port):
    """A relay as a process, once it accepts connections."""
    process = Process(name, command)

    def accepts():
        assert process.popen.poll() is None, process.log()
        with contextlib.suppress(OSError):
            connect_to(f"127.0.0.1:{port}").close()
            return True
        return False

    try:
        wait_until(accepts, f"{name} accepts connections")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()


@case("echod passes the half-close")
def test_echod():
    with Echod() as echod:
        event = check(echod.address, "ok", "ok, the half-close passes")
        assert [probe["reader"] for probe in event["probes"]] == ["prompt", "prompt", "held"]
        # The point of it: when the FIN goes out the echo is still in the path.
        held = event["probes"][2]
        assert held["bytes_before_fin"] < held["bytes_sent"]
        assert event["culprit"] is None


@case("HAProxy in TCP mode passes it")
def test_haproxy():
    haproxy = foreign("haproxy")
    port = free_port()
    with Echod() as echod, temporary_directory() as folder:
        path = os.path.join(folder, "haproxy.cfg")
        with open(path, "w", encoding="ascii") as file:
            file.write("defaults\n mode tcp\n timeout connect 30s\n timeout client 60s\n"
                       f" timeout server 60s\nlisten echo\n bind 127.0.0.1:{port}\n"
                       f" server echod {echod.address}\n")
        with relay("haproxy", [haproxy, "-db", "-q", "-f", path], port) as address:
            check(address, "ok", "ok, the half-close passes")


@case("systemd-socket-proxyd ends both directions at the FIN, since systemd 261 it passes it")
def test_proxyd():
    activate = foreign("systemd-socket-activate")
    if not os.access(PROXYD, os.X_OK):
        raise Skip(f"{PROXYD} is not installed")
    about = subprocess.run([PROXYD, "--version"], capture_output=True, text=True, check=True).stdout
    port = free_port()
    with Echod() as echod:
        command = [activate, "-l", f"127.0.0.1:{port}", PROXYD, echod.address]
        with relay("systemd-socket-proxyd", command, port) as address:
            if int(re.match(r"systemd (\d+)", about)[1]) >= 261:
                check(address, "ok", "ok, the half-close passes")
                return
            # After 0 of 1024 bytes, unless they had to wait for their FIN and went without.
            check(address, "early-eof", "early EOF after ",
                  "closes both directions when it sees a FIN", "systemd-socket-proxyd")


@case("socat cuts off a while after the FIN")
def test_socat():
    socat = foreign("socat")

    def patient(seconds):
        port = free_port()  # its own: children of another one may still be there
        return relay("socat", [socat, "-t", seconds,
                               f"TCP-LISTEN:{port},fork,reuseaddr,bind=127.0.0.1",
                               f"TCP:{echod.address}"], port)

    with Echod() as echod:
        # Without -t it is half a second, in which a busy machine may not get the echo through.
        with patient("2") as address:
            event = check(address, "truncated", "truncated at offset ", "socat",
                          options=("--hold", "5s"))
            assert 0 < event["bytes_received"] < event["bytes_sent"]
        # With patience it is no hindrance.
        with patient("30") as address:
            check(address, "ok")


@case("a relay that cuts off is found however much is sent")
def test_socat_large():
    socat = foreign("socat")
    port = free_port()
    with Echod() as echod, \
            relay("socat", [socat, "-t", "2", f"TCP-LISTEN:{port},fork,reuseaddr,bind=127.0.0.1",
                            f"TCP:{echod.address}"], port) as address:
        check(address, "truncated", "socat", options=("--hold", "5s", "-s", "48M"))


@case("what fails without a FIN as well is not blamed on the FIN")
def test_no_echo():
    def limited(connection):
        connection.sendall(read_exactly(connection, 1000))

    patience = ("--drain-timeout", "1s")
    for handle, verdict, phrase in (
            (lambda _: None, r"early-eof|reset", "closed at once as well (an access list, a limit"),
            (swallow, "early-eof", "nothing is echoed at all, without one either"),
            (lambda connection: peer.hold(connection), "stall", "nothing is echoed at all"),
            (limited, r"early-eof|reset", "no more than 1000 of 1024 bytes come back")):
        with Peer(handle) as peer:
            status, event, line = halfclose(peer.address, *patience)
            assert status == 1 and re.fullmatch(verdict, event["verdict"]), event
            assert "not the FIN: " in event["culprit"] and phrase in event["culprit"], event
            assert phrase in line, line


@case("a server that returns less than it got: early EOF")
def test_early_eof():
    def tail_lost(connection):
        connection.sendall(read_to_end(connection)[:-24])

    def closes_by_itself(connection):
        connection.sendall(read_exactly(connection, 50000))
        connection.shutdown(socket.SHUT_WR)
        read_to_end(connection)

    with Peer(tail_lost) as peer:
        check(peer.address, "early-eof", "early EOF after 1000 of 1024 bytes")
    with Peer(closes_by_itself) as peer:
        check(peer.address, "early-eof", "early EOF after 50000 of ")


@case("a changed byte, a byte too many")
def test_corrupt():
    with Peer(lambda connection: connection.sendall(flip(read_to_end(connection), 77))) as peer:
        check(peer.address, "corrupt", "corrupt: differs at offset 77: sent 0x")
    with Peer(lambda connection: connection.sendall(read_to_end(connection) + b"!")) as peer:
        check(peer.address, "excess", "more bytes than sent: got 0x21 at offset 1024")


@case("a reset at the FIN")
def test_reset():
    def at_fin(connection):
        read_to_end(connection)
        reset(connection)

    with Peer(at_fin) as peer:
        check(peer.address, "reset",
              "reset: connection lost after 0 of 1024 bytes: Connection reset")


@case("a FIN that is swallowed, and silence")
def test_swallowed():
    def never_ends(connection):
        echo(connection)
        peer.hold(connection)

    def never_answers(connection):
        peer.hold(connection)

    patience = ("--drain-timeout", "3s")
    with Peer(never_ends) as peer:
        check(peer.address, "fin-swallowed", "FIN swallowed: all 1024 bytes came back, but no EOF",
              options=patience)
    with Peer(never_answers) as peer:
        check(peer.address, "stall", "no progress after 0 of 1024 bytes", options=patience)


@case("a Unix socket, a target that is not reached, a bad option")
def test_others():
    with temporary_directory() as folder, \
            Peer(echo, path=os.path.join(folder, "echo.sock")) as peer:
        check(peer.address, "ok", options=("--hold", "100ms"))
    result = run_echoctl("halfclose", unused_address())
    assert result.returncode == 2 and b"connect: Connection refused" in result.stderr
    assert result.stdout == b""
    assert run_echoctl("halfclose", "--size", "0", "localhost").returncode == 3


main()
