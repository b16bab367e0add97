#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echoctl ping --reconnect: a connection for each probe."""
import re
import socket
import subprocess

from harness import (DEADLINE_S, case, main, program, read_exactly, run_echoctl,
                     temporary_directory, wait_until)
from harness_peers import Peer, by_message, echo, full_unix_backlog
from harness_ping import counts, ping


@case("a connection for each probe, two times")
def test_reconnect():
    with Peer(echo) as peer:
        result, probes, summary = ping("--reconnect", "-c", "4", "-i", "5ms", peer.address)
        assert result.returncode == 0, result
        assert counts(summary) == {"sent": 4, "ok": 4}
        wait_until(lambda: peer.connections == 4, "four connections")
        assert all(probe["connect_ns"] > 0 and probe["rtt_ns"] > 0 for probe in probes)
        assert summary["connect"]["count"] == 4


@case("one bad connection does not spoil the others")
def test_reconnect_lost():
    def second_fails(connection):
        probe = read_exactly(connection, 64)
        if int.from_bytes(probe[:8], "little") != 2:    # its number
            connection.sendall(probe)
            echo(connection)
    with Peer(second_fails) as peer:
        result, probes, summary = ping("--reconnect", "-c", "3", "-i", "10ms", peer.address)
        assert result.returncode == 1, result
        assert counts(summary) == {"sent": 3, "ok": 2, "lost": 1}
        results = {probe["seq"]: probe for probe in probes}     # as they came back
        assert [results[seq]["result"] for seq in (1, 2, 3)] == ["ok", "lost", "ok"], probes
        assert results[2]["phase"] == "echo", results[2]


@case("bytes that come with the echo and were never sent are found")
def test_surplus():
    for size, more in (("64", b"x"), ("1", b"x"), ("64", bytes(64))):
        # in one write, so that it is there when the last byte of the probe is
        handle = by_message(int(size), lambda _, data, more=more: data + more)
        with Peer(handle) as peer:
            result, probes, summary = ping("--reconnect", "-c", "2", "-i", "5ms", "-s", size,
                                           peer.address)
            assert result.returncode == 1, result
            assert counts(summary) == {"sent": 2, "corrupt": 2} and not summary["broken"], summary
            assert sorted(probe["seq"] for probe in probes) == [1, 2], probes
            for probe in probes:
                assert (probe["result"], probe["offset_bytes"], probe["why"]) == \
                    ("corrupt", int(size), "more bytes than sent"), probe
    with Peer(by_message(64, lambda _, data: data + data)) as peer:
        people = run_echoctl("ping", "--reconnect", "-c", "1", "-W", "20s", peer.address)
        assert people.stdout.decode().startswith(
            f"PING {peer.address} ({peer.address}): 64 bytes\n"
            f"{peer.address}: seq=1 corrupt: more bytes than sent from offset 64 on\n"), people


def few_descriptors(*arguments):
    """Runs it with room for some ten connections."""
    return subprocess.run(["sh", "-c", 'ulimit -n 14; exec "$@"', "sh", program("echoctl"), "ping",
                           "--reconnect", "-W", "20s", *arguments],
                          capture_output=True, text=True, timeout=DEADLINE_S, check=False)


@case("few descriptors are enough for few connections at a time")
def test_few_descriptors():
    with Peer(echo) as peer:
        result = few_descriptors("-c", "3", "-i", "5ms", peer.address)
        assert result.returncode == 0 and "3 sent, 3 ok, 0 lost" in result.stdout, result


@case("no descriptor for a probe is a local error, not a lost probe")
def test_no_descriptors():
    with Peer(None) as peer:
        peer.handle = peer.hold
        result = few_descriptors("-c", "50", "-i", "1ms", peer.address)
        assert result.returncode == 4, result
        assert result.stderr == "echoctl: ping: Too many open files: a process may have 14 " \
            "(ulimit -n)\n", result
        assert re.search(r"\n\d+ sent, 0 ok, 0 lost, .* \d+ not waited for in ",
                         result.stdout), result


@case("a Unix socket that nobody accepts from does not hold up the schedule")
def test_unix_full():
    with temporary_directory() as folder, full_unix_backlog(folder + "/full", 1) as address:
        result, probes, summary = ping("--reconnect", "-c", "5", "-i", "5ms", "-W", "300ms",
                                       "--connect-timeout", "1h", address)
        assert result.returncode == 1, result
        assert counts(summary) == {"sent": 1, "lost": 1, "unsent": 4}, summary
        assert {probe.get("why") for probe in probes if probe["result"] == "unsent"} == \
            {"the peer does not accept"}, probes


@case("a probe that still connects is overdue there, and lost there")
def test_overdue_connecting():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        result, probes, summary = ping("--reconnect", "-c", "5", "-i", "5ms", "-W", "300ms",
                                       "127.0.0.1:%d" % listener.getsockname()[1])
    assert result.returncode == 1, result
    assert counts(summary) == {"sent": 5, "lost": 5}, summary
    phases = [{probe["seq"]: probe["phase"] for probe in probes if probe["result"] == wanted}
              for wanted in ("overdue", "lost")]
    assert phases[0] == phases[1] and phases[0][1] == "echo", phases
    assert phases[0][5] == "connect", phases


main()
