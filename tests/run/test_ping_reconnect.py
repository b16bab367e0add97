#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echoctl ping --reconnect: a connection for each probe."""
import re
import subprocess

from harness import (DEADLINE_S, case, main, program, read_exactly, temporary_directory,
                     wait_until)
from harness_peers import Peer, echo, full_unix_backlog
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
        assert result.stderr == "echoctl: ping: Too many open files\n", result
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


main()
