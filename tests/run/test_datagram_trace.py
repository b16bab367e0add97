#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echoctl trace -u: the phases of one datagram, and what its headers say."""
import socket

from harness import case, main, run_echoctl
from harness_datagram import DatagramPeer, echo, routed
from harness_peers import events, flip


def trace(*arguments):
    """The exit status, the phases and the last object."""
    result = run_echoctl("--json", "trace", "-u", *arguments)
    return (result.returncode, [event["phase"] for event in events(result, "trace")],
            events(result, "trace_summary")[-1])


@case("each phase, and the headers of the echo")
def test_phases():
    options = ((socket.IPPROTO_IP, socket.IP_TTL, 33), (socket.IPPROTO_IP, socket.IP_TOS, 0xb8))
    with DatagramPeer(echo, options=options) as peer:
        status, phases, summary = trace(peer.address)
        assert status == 0 and summary["end"] == "ok" and summary["verified"], summary
        assert phases == ["resolve", "connect", "first-sent", "first-back", "verified"], phases
        assert summary["protocol"] == "udp" and summary["tcp_info"] is None, summary
        assert summary["udp_info"] == {"ttl": 33, "tos": 0xb8, "return_fragment_bytes": 0}
        text = run_echoctl("trace", "-u", peer.address).stdout.decode()
        assert "TTL 33, type of service 0xb8\n" in text, text


@case("an answer from another address, or other bytes, fail by name")
def test_wrong():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.2", 0))
        with DatagramPeer(lambda _, data: [(data, other)]) as peer:
            status, phases, summary = trace(peer.address)
            assert status == 1 and phases[-1] == "verify", phases
            assert "the answer came from 127.0.0.2:" in summary["message"], summary
    with DatagramPeer(lambda _, data: [flip(data, 50)]) as peer:
        status, phases, summary = trace(peer.address)
        assert status == 1 and summary["end"] == "corrupt", summary
        assert summary["message"] == "differs from offset 50 on", summary


@case("no answer in time, nobody at the port, too large")
def test_failures():
    with DatagramPeer(lambda *_: []) as peer:
        status, phases, summary = trace("--drain-timeout", "100ms", peer.address)
        assert status == 1 and phases[-1] == "echo" and summary["end"] == "stall", summary
    status, phases, summary = trace("127.0.0.1:1")
    assert status == 1 and "ICMP type 3, code 3 from 127.0.0.1" in summary["message"], summary
    assert summary["udp_info"] is None
    assert run_echoctl("trace", "-u", "-s", "64K", "127.0.0.1:1").returncode == 3


@case("with few hops to go the router that is so far away says so")
def test_hops():
    with routed() as (client, _router, server), \
            DatagramPeer(echo, "192.0.2.6", node=server) as peer:
        for ttl, message in (("1", "No route to host (ICMP type 11, code 0 from 192.0.2.2)"),
                             ("2", None)):
            result = client.echoctl("--json", "trace", "-u", "--ttl", ttl, peer.address)
            summary = events(result, "trace_summary")[0]
            assert result.returncode == (1 if message else 0), result
            assert message in (None, summary["message"]), summary


main()
