#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echoctl sweep -u: sizes and patterns as datagrams, and the path MTU both ways."""
import contextlib

from harness import case, main, run_echoctl
from harness_datagram import DatagramPeer, echo, forge_icmp, routed
from harness_peers import events, flip

SMALL = ("-s", "100", "-p", "random")


@contextlib.contextmanager
def far_echo(**options):
    """A client, a server behind a router, as nodes, and the address of the echo there."""
    with routed(**options) as (client, _router, server), \
            DatagramPeer(echo, "192.0.2.6", node=server) as peer:
        yield client, server, peer.address


def sweep(result):
    """The cells and the last object."""
    return events(result, "sweep"), events(result)[-1]


@case("every size in every pattern, and no path MTU below the largest packet")
def test_all():
    with DatagramPeer(echo) as peer:
        result = run_echoctl("--json", "sweep", "-u", peer.address)
        cells, last = sweep(result)
        assert result.returncode == 0, result
        assert last["passed"] == len(cells) == 13 * 7 and last["failed"] == 0, last
        assert {cell["result"] for cell in cells} == {"ok"}
        assert last["path_mtu"] == {
            "forward_bytes": 65535, "forward_why": "the largest packet that there is",
            "return_fragment_bytes": 0, "fragments_pass": None}, last


@case("what cuts, changes or drops is found by size and pattern")
def test_failures():
    for answer, name in ((lambda _, data: [data[:1000]], "cut"),
                         (lambda _, data: [data if len(data) < 1000 else flip(data, 999)],
                          "corrupt"),
                         (lambda _, data: [data] if len(data) < 1000 else [], "lost")):
        with DatagramPeer(answer) as peer:
            result = run_echoctl("--json", "sweep", "-u", "-s", "999,1001", "-p", "zeros,sip",
                                 "--drain-timeout", "100ms", peer.address)
            cells, last = sweep(result)
            assert result.returncode == 1, result
            assert [cell["result"] for cell in cells] == ["ok", "ok", name, name], cells
            assert last["first_failed_size_bytes"] == 1001, last


@case("a pattern that is answered otherwise")
def test_pattern():
    with DatagramPeer(lambda _, data: [data.replace(b"\r\n", b"\n")]) as peer:
        result = run_echoctl("sweep", "-u", "-s", "64,512", "-p", "zeros,crlf", peer.address)
        assert result.returncode == 1, result
        assert b"first crlf of 64 bytes: corrupt: differs" in result.stdout, result


@case("a router that has a smaller MTU beyond it says so, and fragments pass")
def test_fragmentation_needed():
    with far_echo(far_mtu=1400) as (client, _server, address):
        result = client.echoctl("--json", "sweep", "-u", "-s", "100,4000", "-p", "random", address)
        _, last = sweep(result)
        assert result.returncode == 0, result
        assert last["path_mtu"]["forward_bytes"] == 1400, last
        assert last["path_mtu"]["forward_why"] == "fragmentation needed from 192.0.2.2", last
        assert last["path_mtu"]["fragments_pass"] is True, last
        text = client.echoctl("sweep", "-u", *SMALL, address).stdout.decode()
        assert "path MTU: forward 1400, fragmentation needed from 192.0.2.2\n" in text, text


@case("an ICMP error that does not quote what was sent makes no path MTU")
def test_forged():
    with routed() as (client, router, server):
        def lie(_number, data):
            for quoted in (bytes(64), data[:4] + bytes(8) + data[12:64], b""):
                forge_icmp(router, peer, peer.sender, 4, quoted, mtu=1280)
            return [data]

        with DatagramPeer(lie, "192.0.2.6", node=server) as peer:
            result = client.echoctl("--json", "sweep", "-u", *SMALL, peer.address)
            _, last = sweep(result)
            assert result.returncode == 0 and last["failed"] == 0, result
            assert last["path_mtu"]["forward_bytes"] == 1500, last
            assert last["path_mtu"]["forward_why"] == "this machine's interface", last


@case("what is dropped without a word is a black hole, by its border")
def test_black_hole():
    with far_echo() as (client, server, address):
        # veth(4) drops what is larger, a VLAN tag aside.
        server.run("ip", "link", "set", "v1", "mtu", "1396")
        result = client.echoctl("--json", "sweep", "-u", *SMALL, "--drain-timeout", "300ms",
                                address)
        _, last = sweep(result)
        assert last["path_mtu"]["forward_bytes"] == 1400, last
        assert last["path_mtu"]["forward_why"] == "black hole above 1400", last


@case("the way back fragments")
def test_return():
    with far_echo() as (client, server, address):
        server.run("ip", "route", "replace", "default", "via", "192.0.2.5", "mtu", "lock", "996")
        result = client.echoctl("--json", "sweep", "-u", *SMALL, address)
        _, last = sweep(result)
        assert last["path_mtu"]["forward_bytes"] == 1500, last
        assert last["path_mtu"]["forward_why"] == "this machine's interface", last
        assert last["path_mtu"]["return_fragment_bytes"] == 996, last
        text = client.echoctl("sweep", "-u", *SMALL, address).stdout.decode()
        assert "return path fragments at 996\n" in text, text


@case("fragments do not pass")
def test_no_fragments():
    with far_echo() as (client, server, address):
        server.run("sh", "-c", "echo 0 >/proc/sys/net/ipv4/ipfrag_low_thresh &&"
                               "echo 0 >/proc/sys/net/ipv4/ipfrag_high_thresh")
        result = client.echoctl("--json", "sweep", "-u", "-s", "100,4000", "-p", "random",
                                "--drain-timeout", "200ms", address)
        cells, last = sweep(result)
        assert [cell["result"] for cell in cells] == ["ok", "lost"], cells
        assert last["path_mtu"]["fragments_pass"] is False, last
        assert last["path_mtu"]["forward_bytes"] == 1500, last


@case("nobody at the port, and sizes that are no datagram's")
def test_refused():
    result = run_echoctl("--json", "sweep", "-u", *SMALL, "127.0.0.1:1")
    cells, last = sweep(result)
    assert result.returncode == 1 and cells[0]["result"] == "unreachable", result
    assert "path_mtu" not in last, last
    assert run_echoctl("sweep", "-u", "-s", "64K", "127.0.0.1:1").returncode == 3


main()
