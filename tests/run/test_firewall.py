#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echoctl behind a firewall that rejects, or drops, what goes to the server: who did it is said."""
import contextlib
import subprocess

from harness import Skip, case, foreign, main
from harness_datagram import DatagramPeer, echo as echo_datagram, routed
from harness_peers import Peer, echo, events

BASE = ("add table inet t", "add chain inet t f { type filter hook forward priority 0; }")
# What nft(8) calls it, the code of its ICMP message, and what the kernel tells a client.
WAYS = (("net-unreachable", 0, "Network is unreachable"),
        ("host-unreachable", 1, "No route to host"),
        ("port-unreachable", 3, "Connection refused"),
        ("net-prohibited", 9, "Network is unreachable"),
        ("host-prohibited", 10, "No route to host"),
        ("admin-prohibited", 13, "No route to host"))


@contextlib.contextmanager
def firewall():
    """A client, a function that sets the one rule of the router, and the echo behind it."""
    nft = foreign("nft")
    with routed() as (client, router, server), \
            DatagramPeer(echo_datagram, "192.0.2.6", node=server) as datagrams, \
            Peer(echo, host="192.0.2.6", node=server) as peer:
        try:
            router.run(nft, "; ".join(BASE))
        except subprocess.CalledProcessError as error:
            raise Skip("the kernel has no nf_tables") from error
        router.run("sh", "-c", "echo 0 >/proc/sys/net/ipv4/icmp_ratelimit")

        def rule(text):
            router.run(nft, f"flush chain inet t f; add rule inet t f ip daddr 192.0.2.6 {text}")

        yield client, rule, peer.address, datagrams.address


def sums(client, *arguments):
    """The exit status and the summary of a ping of two probes."""
    result = client.echoctl("--json", "ping", "-c", "2", "-i", "10ms", "-W", "200ms", *arguments)
    return result.returncode, events(result, "ping_summary")[0]


@case("UDP: each way to reject a datagram is told, by its code and the router's address")
def test_datagrams():
    with firewall() as (client, rule, _, address):
        for way, code, why in WAYS:
            rule(f"udp dport != 0 reject with icmp {way}")
            result = client.echoctl("--json", "ping", "-u", "-c", "2", "-i", "10ms", address)
            probes = events(result, "ping_probe")
            assert result.returncode == 2, result
            assert [(probe["result"], probe["icmp_type"], probe["icmp_code"], probe["why"])
                    for probe in probes] == \
                [("unreachable", 3, code, f"{why} (ICMP type 3, code {code} from 192.0.2.2)")] * 2
            result = client.echoctl("--json", "trace", "-u", address)
            message = events(result, "trace_summary")[0]["message"]
            assert result.returncode == 1 and f"code {code} from 192.0.2.2" in message, result
            result = client.echoctl("check", "-u", address)
            assert result.returncode == 2, result
            assert f"code {code} from 192.0.2.2" in result.stdout.decode(), result
        result = client.echoctl("--json", "load", "-u", "-c", "2", "-n", "4", address)
        assert events(result, "load_summary")[0]["errors"]["echo"] == 4, result
        result = client.echoctl("--json", "sweep", "-u", "-s", "64", "-p", "zeros", address)
        assert [cell["result"] for cell in events(result, "sweep")] == ["unreachable"], result


@case("UDP: each rejected datagram is told from those that pass between")
def test_alternately():
    with firewall() as (client, rule, _, address):
        rule("udp dport != 0 numgen inc mod 2 == 1 reject with icmp admin-prohibited")
        result = client.echoctl("--json", "ping", "-u", "-c", "6", "-i", "10ms", "-W", "20s",
                                address)
        results = {probe["seq"]: probe["result"] for probe in events(result, "ping_probe")}
        assert result.returncode == 1, result
        assert [results[seq] for seq in range(1, 7)] == ["ok", "unreachable"] * 3, result
        summary = events(result, "ping_summary")[0]
        assert (summary["ok"], summary["unreachable"], summary["lost"]) == (3, 3, 0), summary


@case("TCP: a rejected connection is not reached, in the kernel's words")
def test_connections():
    with firewall() as (client, rule, address, _):
        for text, why in (("tcp dport != 0 reject with tcp reset", "Connection refused"),
                          ("meta l4proto tcp reject with icmp admin-prohibited",
                           "No route to host")):
            rule(text)
            for command in ("send", "ping", "halfclose", "trace", "sweep", "load", "idle"):
                result = client.echoctl(command, address)
                assert result.returncode == 2, (command, result)
                assert f"({address}): connect: {why}" in result.stderr.decode(), (command, result)
            result = client.echoctl("check", address)
            assert result.returncode == 2, result
            assert f"({address}): connect: {why}" in result.stdout.decode(), result


@case("TCP: a connection that the firewall resets behind the handshake, or forgets")
def test_established():
    with firewall() as (client, rule, address, _):
        rule("tcp flags & (syn | psh) == psh reject with tcp reset")
        result = client.echoctl("--json", "trace", address)
        assert result.returncode == 1, result
        assert events(result, "trace_summary")[0]["end"] == "reset", result
        result = client.echoctl("halfclose", address)
        assert result.returncode == 1 and b"not the FIN" in result.stdout, result
        rule("tcp flags & (syn | psh) == psh drop")
        status, summary = sums(client, address)
        assert status == 1 and summary["lost"] == 2, summary
        result = client.echoctl("halfclose", "--drain-timeout", "500ms", address)
        assert result.returncode == 1 and b"not the FIN" in result.stdout, result


@case("what is dropped in silence is lost, and is never said to be unreachable")
def test_dropped():
    with firewall() as (client, rule, address, datagrams):
        rule("drop")
        status, summary = sums(client, "-u", datagrams)
        assert (status, summary["lost"], summary["unreachable"]) == (1, 2, 0), summary
        result = client.echoctl("trace", "--connect-timeout", "300ms", address)
        assert result.returncode == 2 and b"timed out" in result.stderr, result


main()
