#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echoctl load -u: flows with a window or a rate, and what each of them lost."""
from harness import case, main, run_echoctl
from harness_datagram import DatagramPeer, echo
from harness_peers import events, flip


def load(address, *arguments):
    """The exit status and the summary."""
    result = run_echoctl("--json", "load", "-u", *arguments, address)
    return result.returncode, events(result, "load_summary")[-1]


def errors(summary):
    return {phase: count for phase, count in summary["errors"].items() if count}


def total(summary, key):
    return sum(flow[key] for flow in summary["flows"])


@case("a window for each flow, every datagram verified, of several processes")
def test_window():
    with DatagramPeer(echo) as peer:
        status, summary = load(peer.address, "-n", "2000", "-c", "3", "--window", "4", "-s",
                               "1400", "--processes", "2", "--timeout", "60s")
        assert status == 0 and errors(summary) == {}, summary
        assert summary["messages"] == 2000 and summary["verified_bytes"] == 2000 * 1400
        assert summary["protocol"] == "udp" and summary["window"] == 4
        assert total(summary, "sent") == 2000 and total(summary, "lost") == 0
        assert len(summary["flows"]) == len({flow["port"] for flow in summary["flows"]}) == 3
        assert len(peer.seen) == len(set(peer.seen)) == 2000


@case("times are the kernel's, with a window or a rate, of the smallest too")
def test_stamps():
    for arguments in (["-n", "200", "-c", "2"], ["-n", "200", "-c", "2", "--window", "5"],
                      ["-n", "50", "-c", "2", "--rate", "500"], ["-n", "50", "-s", "1"]):
        with DatagramPeer(echo) as peer:
            status, summary = load(peer.address, "--timeout", "60s", *arguments)
            assert status == 0 and summary["stamps"] == "kernel", summary
            assert summary["stamps_missing"] == 0, summary
            text = run_echoctl("load", "-u", "-n", "5", peer.address).stdout
            assert b"stamps" not in text, text


@case("no more than the window is on its way")
def test_closed_loop():
    with DatagramPeer(lambda *_: []) as peer:
        status, summary = load(peer.address, "-d", "10ms", "-c", "2", "--window", "3",
                               "--timeout", "200ms")
        assert status == 1 and errors(summary) == {"echo": 6}, summary
        assert [(flow["sent"], flow["lost"]) for flow in summary["flows"]] == [(3, 3)] * 2
        assert len(peer.seen) == 6


@case("the loss of one flow is told by its source port")
def test_lossy_flow():
    ports = []

    def drop(_number, data):
        if peer.sender[1] not in ports:
            ports.append(peer.sender[1])
        return [] if [peer.sender[1]] == ports[1:2] else [data]
    with DatagramPeer(drop) as peer:
        status, summary = load(peer.address, "-n", "30", "-c", "3", "--rate", "200",
                               "--timeout", "2s")
    lossy = [flow for flow in summary["flows"] if flow["lost"]]
    assert status == 1 and [flow["port"] for flow in lossy] == [ports[1]], (ports, summary)
    assert lossy[0]["lost"] == lossy[0]["sent"] == summary["errors"]["echo"], summary
    assert summary["messages"] + lossy[0]["lost"] == 30, summary


@case("text names the flows that lost something")
def test_text():
    with DatagramPeer(lambda number, data: [data] if number > 1 else []) as peer:
        result = run_echoctl("load", "-u", "-n", "3", "-c", "1", "--timeout", "100ms",
                             peer.address)
        text = result.stdout.decode()
        assert result.returncode == 1 and "1 of 3 lost, 33.3%\n" in text, text
        assert "UDP, 1 on their way over each of 1 flow, 64 bytes" in text, text


@case("changed, cut and merged datagrams are errors of verify")
def test_verify():
    held = []

    def merge(_number, data):
        held.append(data)
        return [b"".join(held)] if len(held) == 2 else []
    for answer, count in ((lambda _, data: [flip(data, 1)], 1), (lambda _, data: [data[:-1]], 1),
                          (lambda _, data: [bytes(64)], 1), (merge, 2)):
        with DatagramPeer(answer) as peer:
            status, summary = load(peer.address, "-n", str(count), "-c", "1", "--window", "2",
                                   "--timeout", "20s")
            assert status == 1 and errors(summary) == {"verify": count}, summary
            assert total(summary, "lost") == 0


@case("a duplicate is none of the echoes")
def test_duplicate():
    with DatagramPeer(lambda _, data: [data, data]) as peer:
        status, summary = load(peer.address, "-n", "50", "-c", "1", "--timeout", "20s")
        assert status == 0 and summary["messages"] == 50 and errors(summary) == {}, summary


@case("with a rate what was due is echoed, failed or not begun")
def test_rate():
    with DatagramPeer(echo) as peer:
        status, summary = load(peer.address, "-c", "64", "-d", "500ms", "--rate", "200",
                               "--timeout", "20s")
        assert status == 0, summary
        assert summary["messages"] + summary["not_begun"] == 100, summary
        assert summary["latency_from_due"]["count"] == summary["messages"]


@case("nobody at the port: an ICMP error ends each at once")
def test_refused():
    status, summary = load("127.0.0.1:1", "-n", "2", "-c", "2", "--timeout", "60s")
    assert status == 1 and errors(summary) == {"echo": 2}, summary
    assert summary["duration_ns"] < 30_000_000_000


@case("what cannot be together is refused")
def test_usage():
    for arguments in (["-u", "--reconnect"], ["--window", "2"], ["-u", "-s", "64K"],
                      ["-u", "--window", "2", "-s", "23"], ["-u", "--window", "1025"],
                      ["-u", "-c", "2", "--source-port", "7777"]):
        result = run_echoctl("load", *arguments, "127.0.0.1:1")
        assert result.returncode == 3 and result.stderr, (arguments, result)


main()
