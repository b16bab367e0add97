#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Several targets in one run of ping, check and trace."""
import json
import os
import signal
import socket
import subprocess
import threading
import time

from harness import (DEADLINE_S, case, main, program, read_exactly, run_echoctl,
                     temporary_directory, unused_address, wait_until)
from harness_peers import Peer, echo, events

PING = ("ping", "-c", "2", "-i", "20ms")


def rows(result):
    """The cells of the table at the end, by target."""
    lines = result.stdout.decode().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("TARGET"))
    return {line.split()[0]: line.split()[1:] for line in lines[start + 1:]}


@case("ping: a row for each target, and nothing else with -q; 1 if one failed")
def test_ping():
    bad = unused_address()
    with Peer(echo) as one, Peer(echo) as two:
        well = run_echoctl(*PING, "-q", one.address, two.address)
        result = run_echoctl(*PING, one.address, bad, two.address)
    assert (well.returncode, result.returncode) == (0, 1), result
    assert list(rows(well)) == [one.address, two.address], well
    assert well.stdout.startswith(b"TARGET ") and well.stdout.count(b"\n") == 3, well
    assert result.stdout.count(b" bytes from ") == 4, result
    found = rows(result)
    assert found[one.address][:5] == found[two.address][:5] == ["2", "2", "0", "0", "0"], found
    assert found[bad] == ["0", "0", "0", "0", "0", "Connection", "refused"], found


@case("ping -u: a row for each target; what meets an ICMP error counts as lost")
def test_datagrams():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        bad = "127.0.0.1:%d" % silent.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(DEADLINE_S)
        good = "127.0.0.1:%d" % server.getsockname()[1]

        def answer():
            for _ in range(2):
                server.sendto(*server.recvfrom(65536))

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        result = run_echoctl(*PING, "-u", "-q", "-W", "5s", good, bad)
        thread.join()
    found = rows(result)
    assert result.returncode == 1, result
    assert found[good][:4] == ["2", "2", "0", "0"] and found[bad][:4] == ["2", "0", "2", "0"], found


@case("ping: the others go on when one breaks, also with a connection for each probe")
def test_ping_broken():
    def once(connection):
        connection.sendall(read_exactly(connection, 64))

    for options, lost in ((), "0"), (("--reconnect",), None):
        with Peer(echo) as peer, Peer(once) as breaks:
            result = run_echoctl("ping", "-c", "5", "-i", "20ms", "-q", *options,
                                 breaks.address, peer.address)
        found = rows(result)
        assert found[peer.address][:3] == ["5", "5", "0"], result
        assert result.returncode == (1 if lost else 0), result


def apart_s():
    """How long after the first target's probe the second one's comes, 600 ms from one to the next."""
    came = {}

    def handle(number):
        def note(connection):
            read_exactly(connection, 64)
            came[number] = time.monotonic()
        return note

    with Peer(handle(0)) as one, Peer(handle(1)) as two, \
            subprocess.Popen([program("echoctl"), "ping", "-i", "600ms", one.address,
                              two.address], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL) as client:
        wait_until(lambda: len(came) == 2, "a probe to each")
        client.send_signal(signal.SIGINT)
        client.wait(DEADLINE_S)
    return came[1] - came[0]


@case("ping: the targets' turns are spread over the interval")
def test_ping_spread():
    # A busy machine may delay either one.
    wait_until(lambda: 0.2 < apart_s() < 0.4, "turns of half an interval")


@case("ping: two hundred targets from a file, none of which answers to be connected to")
def test_many():
    with Peer(echo) as peer, temporary_directory() as folder:
        port = peer.address.rpartition(":")[2]
        path = os.path.join(folder, "targets")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"# hosts\n\n \t{peer.address} \r\n")
            file.writelines(f"unix:{folder}/{number}\n" for number in range(200))
        result = run_echoctl("--json", *PING, "--targets", path, f"localhost:{port}")
    assert result.returncode == 1, result.stderr[-500:]
    summaries = events(result, "ping_summary")
    assert len(summaries) == 202 and all(line["final"] for line in summaries)
    well = {line["target"] for line in summaries if line["ok"] == 2}
    assert well == {f"localhost:{port}", peer.address}, well


@case("those that do not answer are waited for at the same time")
def test_together():
    with Peer(echo) as peer, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        target = "127.0.0.1:%d" % silent.getsockname()[1]
        # The backlog is full after one: the kernel answers no further SYN.
        with socket.create_connection(silent.getsockname()):
            started = time.monotonic()
            result = run_echoctl("check", "-t", "2", *[target] * 10, peer.address)
            took_s = time.monotonic() - started
    lines = result.stdout.decode().splitlines()
    assert result.returncode == 2 and took_s < 10, (took_s, lines)
    assert lines[-2].startswith(f"ECHO OK - {peer.address}: 64 bytes verified"), lines
    assert lines[-1] == "ECHO CRITICAL - 1 of 11 targets are well", lines


@case("check: a line for each and the worst state, -v as other plugins have it")
def test_check():
    with Peer(echo) as peer, temporary_directory() as folder:
        bad = f"unix:{folder}/none"
        well = run_echoctl("check", "-v", peer.address, peer.address)
        result = run_echoctl("check", bad, peer.address)
        single = run_echoctl("check", "-v", peer.address)
    assert well.returncode == 0 and well.stdout.endswith(b"ECHO OK - 2 of 2 targets are well\n")
    assert result.returncode == 2 and result.stdout.count(b"\n") == 3, result
    assert single.stdout.startswith(b"ECHO OK - 64 bytes") and single.stdout.count(b"\n") == 1


@case("trace: one after the other and a table; -n of ping is taken")
def test_trace():
    bad = unused_address()
    with Peer(echo) as peer:
        result = run_echoctl("trace", peer.address, bad)
        quiet = run_echoctl("trace", "-q", peer.address, bad)
        well = run_echoctl("trace", "-q", peer.address, peer.address)
        numeric = run_echoctl(*PING, "-n", peer.address)
    assert (result.returncode, quiet.returncode, well.returncode) == (1, 1, 0), quiet
    assert result.stdout.startswith(peer.address.encode() + b"\nresolve ") and \
        f"\n{bad}\nresolve ".encode() in result.stdout, result
    assert quiet.stdout.count(b"\n") == 3 and rows(quiet)[bad][0] == "connect:", quiet
    assert rows(quiet)[peer.address][-1] == "ok", quiet
    assert numeric.returncode == 0, numeric


@case("--targets - is standard input; every JSON line has its target")
def test_json():
    bad = unused_address()
    with Peer(echo) as peer:
        text = f"{peer.address}\n{bad}\n".encode()
        for command in (PING, ("check",), ("trace",)):
            result = run_echoctl("--json", *command, "--targets", "-", stdin=text)
            lines = [json.loads(line) for line in result.stdout.splitlines()]
            assert {line["target"] for line in lines} == {peer.address, bad}, (command, lines)


@case("what is wrong with a target or the file is said before anything is tried")
def test_wrong():
    with temporary_directory() as folder:
        path = os.path.join(folder, "empty")
        with open(path, "w", encoding="ascii"):
            pass
        for command in ("ping", "trace", "check"):
            for arguments, status, phrase in (
                    (("127.0.0.1:1", "a:b:c"), 3, "a:b:c: too many colons"),
                    (("--targets", path), 3, "an ADDRESS is missing"),
                    (("--targets", folder + "/none"), 4, "No such file")):
                result = run_echoctl(command, *arguments)
                assert phrase in result.stderr.decode(), result
                assert result.returncode == (3 if command == "check" else status), result


main()
