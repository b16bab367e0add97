#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echoctl ping -u and check -u: what becomes of a datagram, whatever the server makes of it."""
import json
import socket
import subprocess

from harness import case, main, run_echoctl, wait_until
from harness_datagram import DatagramPeer, Node, echo, forge_icmp, link, routed
from harness_peers import events, flip

SPECIAL = ("sent", "ok", "late", "lost", "corrupt", "cut", "merged", "unreachable", "refused",
           "duplicates", "reordered", "unsent", "waiting")


def ping(address, *arguments, late="20s"):
    """The result, the probes and the final summary."""
    result = run_echoctl("--json", "ping", "-u", "-W", late, *arguments, address)
    summary = events(result, "ping_summary")[-1]
    assert summary["final"] and summary["protocol"] == "udp"
    return result, events(result, "ping_probe"), summary


def counts(summary):
    return {key: summary[key] for key in SPECIAL if summary[key]}


def run(answer, *arguments, **options):
    with DatagramPeer(answer) as peer:
        return ping(peer.address, *arguments, **options)


@case("whole datagrams come back, of every size")
def test_sizes():
    for size in (0, 1, 23, 24, 64, 1472, 1473, 65507):
        count = 1 if size < 24 else 3
        result, probes, summary = run(echo, "-c", str(count), "-i", "5ms", "-s", str(size))
        assert result.returncode == 0, result
        assert counts(summary) == {"sent": count, "ok": count}, summary
        assert [probe["seq"] for probe in probes] == [1, 2, 3][:count]
        assert summary["rtt"]["count"] == count


@case("of the smallest, which do not say which they are, one is on its way")
def test_small():
    held = []

    def hold(_number, data):
        held.append(data)
        return []
    _, probes, summary = run(hold, "-c", "3", "-i", "5ms", "-s", "23", late="300ms")
    assert counts(summary) == {"sent": 1, "lost": 1, "unsent": 2}, summary
    assert len(held) == 1 and probes[0]["result"] == "unsent", probes


@case("over IPv6")
def test_ipv6():
    with DatagramPeer(echo, "::1") as peer:
        _, _, summary = ping(peer.address, "-c", "2", "-i", "5ms", "--tos", "184")
        assert counts(summary) == {"sent": 2, "ok": 2}, summary
        assert summary["tos_changed"] == 2    # the peer answers with 0


@case("the kernel's times are used")
def test_stamps():
    _, _, summary = run(echo, "-c", "5", "-i", "5ms")
    assert summary["stamps"] == "kernel" and summary["stamps_missing"] == 0, summary


@case("a probe that no answer comes to is overdue, then lost")
def test_lost():
    result, probes, summary = run(lambda number, data: [data] if number % 3 == 1 else [],
                                  "-c", "6", "-i", "5ms", late="300ms")
    assert result.returncode == 1
    assert counts(summary) == {"sent": 6, "ok": 2, "lost": 4}, summary
    assert summary["lost_in_a_row_max"] == 2
    assert {probe["seq"] for probe in probes if probe["result"] == "lost"} == {2, 3, 5, 6}


@case("a probe that comes twice is ok and duplicate")
def test_duplicate():
    result, probes, summary = run(lambda number, data: [data] * (1 + (number == 1)),
                                  "-c", "2", "-i", "50ms")
    assert result.returncode == 0
    assert counts(summary) == {"sent": 2, "ok": 2, "duplicates": 1}, summary
    assert [(probe["seq"], probe["result"]) for probe in probes] == \
        [(1, "ok"), (1, "duplicate"), (2, "ok")]


@case("probes that overtake are counted as RFC 4737 does")
def test_reordered():
    held = []

    def swap(_number, data):
        held.append(data)
        return held[1:] + held[:1] if len(held) == 4 else []
    result, probes, summary = run(swap, "-c", "4", "-i", "5ms")
    assert result.returncode == 0
    assert counts(summary) == {"sent": 4, "ok": 4, "reordered": 1}, summary
    assert summary["reordered_extent_max"] == 3
    assert [probe["seq"] for probe in probes if probe.get("reordered")] == [1]


@case("other bytes are corrupt, by the offset of the first")
def test_corrupt():
    for offset in (0, 5, 13, 20, 63):
        result, probes, summary = run(lambda _, data, at=offset: [flip(data, at)], "-c", "1")
        assert result.returncode == 1
        assert counts(summary) == {"sent": 1, "corrupt": 1}, (offset, summary)
        assert probes[0]["offset_bytes"] == offset, probes
    for scramble in (bytes.upper, bytes.swapcase, lambda data: data.replace(b"\n", b"\r"),
                     # in the random part of the header it would leave nothing to know it by
                     lambda data: data[:24] + data[24:].replace(b"\xff", b""),
                     lambda data: data + b"!",
                     lambda data: bytes(byte & 127 for byte in data),
                     lambda data: bytes(byte ^ 255 for byte in data)):
        _, _, summary = run(lambda _, data, change=scramble: [change(data)], "-c", "1")
        assert counts(summary) == {"sent": 1, "corrupt": 1}, summary


@case("the beginning alone is cut, by its size")
def test_cut():
    for size in (16, 24, 63):
        _, probes, summary = run(lambda _, data, end=size: [data[:end]], "-c", "1")
        assert counts(summary) == {"sent": 1, "cut": 1}, (size, summary)
        assert probes[0]["offset_bytes"] == size


@case("datagrams that came back as one are merged, each of them")
def test_merged():
    held = []

    def merge(_number, data):
        held.append(data)
        return [b"".join(held)] if len(held) == 3 else []
    result, probes, summary = run(merge, "-c", "3", "-i", "5ms")
    assert result.returncode == 1
    assert counts(summary) == {"sent": 3, "merged": 3}, summary
    assert [probe["seq"] for probe in probes] == [1, 2, 3]


@case("what answers late is late, and no other run's answer is taken")
def test_late_and_foreign():
    held = []

    def delay(number, data):
        held.append(data)
        if number < 3:
            return [data[:4] + bytes(byte ^ 0x5a for byte in data[4:12]) + data[12:]]
        return held
    _, probes, summary = run(delay, "-c", "3", "-i", "50ms", late="10ms")
    assert summary["late"] >= 2 and summary["ok"] + summary["late"] == 3, summary
    assert {probe["result"] for probe in probes if probe["seq"] == 1} == {"overdue", "late"}


@case("nobody at the port: ICMP says so, by its type and from whom")
def test_unreachable():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    result, probes, summary = ping(f"127.0.0.1:{port}", "-c", "3", "-i", "5ms")
    assert result.returncode == 2
    assert counts(summary) == {"sent": 3, "unreachable": 3}, summary
    assert [(probe["seq"], probe["icmp_type"], probe["icmp_code"]) for probe in probes] == \
        [(seq, 3, 3) for seq in (1, 2, 3)]
    assert "from 127.0.0.1" in probes[0]["why"]


@case("what is too big for the interface is refused by that, and nothing else suffers")
def test_refused():
    result, probes, summary = ping("127.0.0.1:9", "-c", "2", "-i", "5ms", "-s", "65527")
    assert result.returncode == 1
    assert counts(summary) == {"refused": 2}, summary
    assert {probe["result"] for probe in probes} == {"refused"}


@case("type of service: sent on every datagram, and told if it comes back changed")
def test_tos():
    options = ((socket.IPPROTO_IP, socket.IP_TOS, 0xb8),)
    with DatagramPeer(echo, options=options) as peer:
        _, _, summary = ping(peer.address, "-c", "2", "-i", "5ms", "--tos", "0xb8")
        assert summary["tos_changed"] == 0, summary
        _, _, summary = ping(peer.address, "-c", "2", "-i", "5ms", "--tos", "16")
        assert summary["tos_changed"] == 2 and summary["congested"] == 0, summary
        text = run_echoctl("ping", "-u", "-c", "1", peer.address).stdout
        assert b"1 answers with another type of service: sent 0x00, got 0xb8\n" in text, text
    with DatagramPeer(echo, options=((socket.IPPROTO_IP, socket.IP_TOS, 0x03),)) as peer:
        _, _, summary = ping(peer.address, "-c", "1", "--tos", "2")
        assert summary["congested"] == 1 and summary["tos_changed"] == 0, summary


@case("a router that prohibits is named")
def test_prohibited():
    with routed() as (client, router, _server):
        router.run("ip", "route", "add", "prohibit", "198.51.100.0/24")
        result = client.echoctl("--json", "ping", "-u", "-c", "2", "-i", "10ms", "-W", "20s",
                                "198.51.100.1:7")
        summary = events(result, "ping_summary")[-1]
        assert counts(summary) == {"sent": 2, "unreachable": 2}, summary
        probe = events(result, "ping_probe")[0]
        assert (probe["icmp_type"], probe["icmp_code"]) == (3, 13), probe
        assert "from 192.0.2.2" in probe["why"], probe


@case("a way back over another link: nothing is lost, nor said to come from elsewhere")
def test_asymmetric():
    with Node() as client, Node() as server:
        for number in (0, 1):
            link(client, server, number)
        server.run("ip", "address", "add", "198.51.100.1/32", "dev", "lo")
        client.run("ip", "route", "add", "198.51.100.1", "via", "192.0.2.2")
        server.run("ip", "route", "add", "192.0.2.1/32", "via", "192.0.2.5")
        for node in (client, server):
            node.run("sh", "-c", "echo 0 | tee /proc/sys/net/ipv4/conf/*/rp_filter >/dev/null")
        with DatagramPeer(echo, "198.51.100.1", node=server) as peer:
            result = client.echoctl("--json", "ping", "-u", "-c", "3", "-i", "10ms", "-W", "20s",
                                    peer.address)
            assert counts(events(result, "ping_summary")[-1]) == {"sent": 3, "ok": 3}, result
            for command in ("trace", "check", "sweep"):
                result = client.echoctl(command, "-u", peer.address)
                assert result.returncode == 0, (command, result)
            back = subprocess.run(server.command("ip", "-s", "-j", "link", "show", "dev", "v0"),
                                  stdout=subprocess.PIPE, check=True).stdout
            assert json.loads(back)[0]["stats64"]["tx"]["packets"] < 100, back


@case("an ICMP error that quotes other bytes than ours is not about a probe")
def test_forged():
    with routed() as (client, router, server):
        def lie(_number, data):
            for quoted in (bytes(64), data[:4] + bytes(8) + data[12:]):
                for code in (3, 4):
                    forge_icmp(router, peer, peer.sender, code, quoted, mtu=1280)
            return [data]

        with DatagramPeer(lie, "192.0.2.6", node=server) as peer:
            result = client.echoctl("--json", "ping", "-u", "-c", "3", "-i", "10ms", "-W", "20s",
                                    peer.address)
            assert counts(events(result, "ping_summary")[-1]) == {"sent": 3, "ok": 3}, result
            for command in (["load", "-n", "5"], ["check"], ["trace"]):
                result = client.echoctl(*command, "-u", peer.address)
                assert result.returncode == 0, (command, result)


@case("one that quotes too little to tell is about the latest probe")
def test_short_quotation():
    with routed() as (client, router, server):
        def refuse(*_):
            forge_icmp(router, peer, peer.sender, 13, b"")
            return []

        with DatagramPeer(refuse, "192.0.2.6", node=server) as peer:
            result = client.echoctl("--json", "ping", "-u", "-c", "1", peer.address)
            assert counts(events(result, "ping_summary")[-1]) == {"sent": 1, "unreachable": 1}


@case("without a route the target is not reached")
def test_no_route():
    with Node() as node:
        result = node.echoctl("ping", "-u", "-c", "1", "192.0.2.1:7")
        assert result.returncode == 2 and b"Network is unreachable" in result.stderr, result


@case("a connection's options and a Unix socket are refused in words")
def test_usage():
    for command in ("send", "halfclose", "idle", "status"):
        result = run_echoctl(command, "-u", "127.0.0.1:1")
        assert result.returncode == 3 and b"no UDP form" in result.stderr, result
    for arguments in (["ping", "--reconnect", "localhost"], ["ping", "unix:/x"],
                      ["ping", "-s", "65528", "localhost"]):
        result = run_echoctl("--udp", *arguments)
        assert result.returncode == 3 and result.stderr, (arguments, result)
    for arguments in (["--halfclose", "localhost"], ["unix:/x"], ["-s", "1M", "localhost"]):
        result = run_echoctl("check", "-u", *arguments)
        assert result.returncode == 3 and b"UNKNOWN" in result.stdout, (arguments, result)


def check(*arguments):
    result = run_echoctl("--json", "check", "-u", *arguments)
    return result.returncode, json.loads(result.stdout)


@case("check: OK, with performance data")
def test_check():
    with DatagramPeer(echo) as peer:
        result = run_echoctl("check", "-u", "-w", "5", "-c", "10", peer.address)
        assert result.returncode == 0, result
        assert result.stdout.startswith(b"ECHO OK - 64 bytes verified in "), result
        assert result.stdout.endswith(b";5;10;0;10.000 size=64B;;;0 retries=0;;;0\n"), result
        assert check("-w", "@0:10", peer.address)[0] == 1


@case("check: one retry, which is said and counted")
def test_check_retry():
    with DatagramPeer(lambda number, data: [data] if number == 2 else []) as peer:
        code, event = check(peer.address)
        assert code == 0 and event["retries"] == 1, event
        assert "the first datagram was lost" in event["text"]
    with DatagramPeer(lambda *_: []) as peer:
        code, event = check("-t", "0.2", peer.address)
        assert code == 2 and event["retries"] == 1 and "no answer in time" in event["text"], event
        wait_until(lambda: len(peer.seen) == 2, "the second datagram has come")


@case("check: whatever else comes back is CRITICAL, and why")
def test_check_critical():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.2", 0))
        for answer, why in ((lambda _, data: [data[:20]], "cut off from offset 20 on"),
                            (lambda _, data: [flip(data, 40)], "differs from offset 40 on"),
                            (lambda _, data: [data + data], "another probe behind it"),
                            (lambda _, data: [data + b"?"], "more bytes than sent"),
                            (lambda _, data: [(data, other)], "the answer came from 127.0.0.2:")):
            with DatagramPeer(answer) as peer:
                code, event = check(peer.address)
                assert code == 2 and why in event["text"], (why, event)
        port = other.getsockname()[1]
    code, event = check(f"127.0.0.2:{port}")
    assert code == 2 and "Connection refused (ICMP type 3, code 3" in event["text"], event


main()
