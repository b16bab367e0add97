#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echoctl ping: the schedule, what becomes of each probe, statistics, exit status."""
import json
import re
import signal
import socket
import threading
import time

from harness import (DEADLINE_S, Echod, case, main, program, read_exactly, read_to_end,
                     run_echoctl, temporary_directory, unused_address)
from harness_datagram import Node
from harness_peers import (Peer, by_message, echo, echo_bytewise, events, flip, full_backlog,
                           reset, swallow)
from harness_ping import check_requirements, counts, ping, running
from harness_terminal import Terminal

SECOND = 1_000_000_000


@case("a line for each probe, then the statistics")
def test_text():
    with Peer(echo) as peer:
        result = run_echoctl("ping", "-c", "3", "-i", "10ms", "-s", "100", "-W", "20s",
                             peer.address)
        assert result.returncode == 0, result
        number = r"\d+\.\d{3}"
        wanted = rf"PING {peer.address} \({peer.address}\): 100 bytes\n"
        wanted += "".join(rf"100 bytes from {peer.address}: seq={seq} time={number} ms\n"
                         for seq in (1, 2, 3))
        wanted += (rf"\n--- {peer.address} echo statistics ---\n"
                   rf"3 sent, 3 ok, 0 lost, 0 corrupt, 0 late in {number} s\n"
                   rf"rtt min/avg/max/mdev {number}/{number}/{number}/{number} ms\n"
                   rf"rtt p50/p90/p99/p99\.9 {number}/{number}/{number}/{number} ms\n"
                   rf"jitter {number} ms\n")
        assert re.fullmatch(wanted, result.stdout.decode()), result.stdout.decode()
        assert result.stderr == b""


@case("probes are sent on time though no answer comes")
def test_schedule():
    waited_ns = []

    def hold_back(connection):
        messages, came_ns = [], []
        for _ in range(5):
            messages.append(read_exactly(connection, 64))
            came_ns.append(time.monotonic_ns())
        waited_ns.extend(time.monotonic_ns() - when for when in came_ns)
        connection.sendall(b"".join(messages))
        echo(connection)
    with Peer(hold_back) as peer:
        result, probes, summary = ping("-c", "5", "-i", "20ms", peer.address)
        assert result.returncode == 0, result
        assert counts(summary) == {"sent": 5, "ok": 5}
        times = [probe["rtt_ns"] for probe in probes]
        assert all(rtt >= least for rtt, least in zip(times, waited_ns)), (times, waited_ns)
        assert summary["rtt"]["count"] == 5 and summary["rtt"]["max_ns"] == max(times)


@case("a stream cut into single bytes is put together")
def test_segments():
    with Peer(echo_bytewise) as peer:
        result, _, summary = ping("-c", "5", "-i", "5ms", "-s", "300", peer.address)
        assert result.returncode == 0, result
        assert counts(summary) == {"sent": 5, "ok": 5}


@case("every size from one byte")
def test_sizes():
    with Peer(echo) as peer:
        for size in ("1", "7", "16", "17", "64K", "1M"):
            result, _, summary = ping("-c", "2", "-i", "5ms", "-s", size, peer.address)
            assert result.returncode == 0, (size, result)
            assert counts(summary) == {"sent": 2, "ok": 2}, size


@case("a late answer is told from a lost one")
def test_late():
    given_up = threading.Event()

    def when_given_up(connection):
        given_up.wait(DEADLINE_S)
        echo(connection)
    with Peer(when_given_up) as peer, \
            running("--json", "ping", "-i", "1h", "-W", "100ms", peer.address) as process:
        said = [json.loads(process.stdout.readline())]
        given_up.set()
        said.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        summary = json.loads(process.communicate(timeout=DEADLINE_S)[0].splitlines()[-1])
        assert process.returncode == 1
        assert [(probe["seq"], probe["result"]) for probe in said] == [(1, "overdue"), (1, "late")]
        assert counts(summary) == {"sent": 1, "late": 1}
        assert summary["rtt"]["count"] == 1 and summary["rtt"]["max_ns"] >= 100_000_000


@case("a changed byte is named by its offset")
def test_corrupt():
    handle = by_message(64, lambda number, data: flip(data, 40) if number == 2 else data)
    with Peer(handle) as peer:
        result, probes, summary = ping("-c", "3", "-i", "5ms", peer.address)
        assert result.returncode == 1, result
        assert counts(summary) == {"sent": 3, "ok": 2, "corrupt": 1}
        assert probes[1] == {"event": "ping_probe", "seq": 2, "result": "corrupt",
                             "offset_bytes": 40, "why": "differs", "target": peer.address}


@case("a swallowed probe is lost, the one behind it is not")
def test_lost():
    handle = by_message(64, lambda number, data: b"" if number == 2 else data)
    with Peer(handle) as peer:
        result, probes, summary = ping("-c", "3", "-i", "5ms", peer.address)
        assert result.returncode == 1, result
        assert counts(summary) == {"sent": 3, "ok": 2, "lost": 1}
        assert [(probe["seq"], probe["result"]) for probe in probes] == \
            [(1, "ok"), (2, "lost"), (3, "ok")]


@case("a black hole: everything is lost, in bounded time")
def test_black_hole():
    with Peer(swallow) as peer:
        result, probes, summary = ping("-c", "3", "-i", "5ms", "-W", "100ms", peer.address)
        assert result.returncode == 1, result
        assert counts(summary) == {"sent": 3, "lost": 3}
        assert [(probe["seq"], probe["result"]) for probe in probes] == \
            [(seq, result) for result in ("overdue", "lost") for seq in (1, 2, 3)]
        assert {probe["why"] for probe in probes[3:]} == {"no answer"}, probes
        assert summary["rtt"] == {"count": 0}


@case("a peer that closes ends the run, and that is said")
def test_closed():
    def close_at_second(connection):
        connection.sendall(read_exactly(connection, 64))
        read_exactly(connection, 64)
        connection.shutdown(socket.SHUT_WR)
        read_to_end(connection)     # a further probe left unread would make it a reset
    with Peer(close_at_second) as peer:
        result = run_echoctl("ping", "-c", "5", "-i", "200ms", "-W", "20s", peer.address)
        assert result.returncode == 1, result
        assert f"echoctl: {peer.address}: echo: the peer closed the connection\n" == \
            result.stderr.decode()
        assert re.search("1 ok, [1-4] lost", result.stdout.decode()), result.stdout


@case("a connection that breaks: that is told, and so is each probe that is lost by it")
def test_broken():
    def reset_at_fourth(connection):
        read_exactly(connection, 4 * 64)
        reset(connection)
    with Peer(reset_at_fourth) as peer:
        result, probes, summary = ping("-c", "9", "-i", "100ms", peer.address)
        assert result.returncode == 1 and summary["broken"] == "Connection reset by peer", result
        error, = events(result, "error")
        assert error == {"event": "error", "host": "127.0.0.1", "address": peer.address,
                         "phase": error["phase"], "errno": "ECONNRESET",
                         "message": "Connection reset by peer",
                         "target": peer.address}, error
        assert len(probes) >= 4 and counts(summary) == {"sent": len(probes), "lost": len(probes)}
        assert probes == [{"event": "ping_probe", "seq": 1 + i, "result": "lost",
                           "phase": error["phase"], "why": "Connection reset by peer",
                           "target": peer.address}
                          for i in range(len(probes))], probes
        people = run_echoctl("ping", "-c", "9", "-i", "100ms", "-W", "20s", peer.address)
        assert re.match(rf"PING .*\n{peer.address}: seq=1 lost: (echo|send): "
                        rf"Connection reset by peer\n{peer.address}: seq=2 lost: ",
                        people.stdout.decode()), people


@case("an overdue probe is lost when the connection breaks")
def test_overdue_lost():
    given_up = threading.Event()

    def reset_when_given_up(connection):
        read_exactly(connection, 64)
        given_up.wait(DEADLINE_S)
        reset(connection)
    with Peer(reset_when_given_up) as peer, \
            running("--json", "ping", "-i", "1h", "-W", "100ms", peer.address) as process:
        said = [json.loads(process.stdout.readline())]
        given_up.set()
        said += map(json.loads, process.communicate(timeout=DEADLINE_S)[0].splitlines())
        assert [(line["event"], line.get("result")) for line in said] == \
            [("ping_probe", "overdue"), ("error", None), ("ping_probe", "lost"),
             ("ping_summary", None)], said


@case("bytes that nobody asked for end the run")
def test_surplus():
    with Peer(by_message(64, lambda number, data: data + b"x")) as peer:
        # what is left over after the first must not be taken for the second's echo
        result, _, summary = ping("-c", "2", "-i", "1h", peer.address)
        assert result.returncode == 1, result
        assert summary["broken"] == "the peer sent bytes that no probe waits for", summary


@case("a peer that does not read: what cannot be sent is counted")
def test_unsent():
    with Peer(None) as peer:
        peer.handle = peer.hold
        result, probes, summary = ping("-c", "30", "-i", "5ms", "-s", "1M", "-W", "100ms",
                                       peer.address)
        assert result.returncode == 1, result
        assert summary["unsent"] > 0 and summary["unsent"] + summary["sent"] == 30, summary
        assert summary["lost"] == summary["sent"]
        assert any(probe["result"] == "unsent" and probe["phase"] == "send" for probe in probes)


@case("nobody listens: exit 2, host, address and phase named")
def test_refused():
    address = unused_address()
    result = run_echoctl("ping", "-c", "1", address)
    assert result.returncode == 2, result
    assert address in result.stderr.decode() and "connect: Connection refused" in \
        result.stderr.decode(), result.stderr


@case("each probe has its whole time, and is lost then, with and without --reconnect")
def test_all_lost():
    def silent(connection):
        while connection.recv(1 << 16):
            pass

    with Peer(silent) as peer:
        for options in ((), ("--reconnect",)):
            result, _, summary = ping(*options, "-c", "3", "-i", "10ms", "-W", "150ms",
                                      peer.address)
            assert result.returncode == 1, result
            assert counts(summary) == {"sent": 3, "lost": 3}, (options, summary)


@case("-w ends the run, what is on its way then is not called lost")
def test_deadline():
    with Peer(swallow) as peer:
        result, _, summary = ping("-w", "2s", "-i", "1h", "-W", "10s", peer.address)
        assert result.returncode == 1, result
        assert counts(summary) == {"sent": 1, "waiting": 1}
    with full_backlog() as address:
        result = run_echoctl("ping", "-w", "300ms", "--connect-timeout", "1h", address)
        assert result.returncode == 2 and b"Connection timed out" in result.stderr, result


@case("SIGQUIT tells how it stands, SIGINT ends with the statistics")
def test_signals():
    with Peer(echo) as peer:
        with running("ping", "-i", "10ms", "-W", "20s", peer.address) as process:
            process.stdout.readline()
            process.stdout.readline()
            process.send_signal(signal.SIGQUIT)
            lines = []
            while b"statistics" not in b"".join(lines):
                lines.append(process.stdout.readline())
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=DEADLINE_S)
            assert process.returncode == 0, (process.returncode, err)
            assert b"echo statistics" in out and b" 0 lost" in out, out


@case("stopped and continued: it goes on from there, no burst makes up for the pause")
def test_suspended():
    with Peer(echo) as peer:
        with running("--json", "ping", "-i", "10ms", "-W", "20s", peer.address) as process:
            process.stdout.readline()
            process.send_signal(signal.SIGSTOP)
            # The pause itself is what is tested.
            peer.done.wait(1.5)
            process.send_signal(signal.SIGCONT)
            assert re.fullmatch(rb"echoctl: was stopped for \d+\.\d s, goes on\n",
                                process.stderr.readline())
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=DEADLINE_S)
            summary = json.loads(out.splitlines()[-1])
            assert summary["sent"] * 10_000_000 < summary["duration_ns"] - SECOND, summary


@case("an answer that comes while it is stopped is not late, and its time is not known")
def test_stopped_meanwhile():
    came, stopped = threading.Event(), threading.Event()

    def when_stopped(connection):
        message = read_exactly(connection, 64)
        came.set()
        stopped.wait()
        connection.sendall(message)
        echo(connection)

    with Peer(when_stopped) as peer:
        with running("--json", "ping", "-c", "2", "-W", "1s", "-i", "1200ms",
                     peer.address) as process:
            came.wait()
            process.send_signal(signal.SIGSTOP)
            stopped.set()
            # The pause itself is what is tested.
            peer.done.wait(2)
            process.send_signal(signal.SIGCONT)
            out, err = process.communicate(timeout=DEADLINE_S)
        probes = [json.loads(line) for line in out.splitlines()]
        assert re.fullmatch(rb"echoctl: was stopped for \d+\.\d s, goes on\n", err), err
        assert probes[0]["result"] == "ok" and probes[0]["stopped_ns"] > SECOND, probes
        assert "rtt_ns" not in probes[0] and "rtt_ns" in probes[1], probes
        assert probes[-1]["rtt"]["count"] == 1 and process.returncode == 0, probes


@case("-D puts the time in front")
def test_timestamps():
    with Peer(echo) as peer:
        result = run_echoctl("ping", "-D", "-c", "1", peer.address)
        assert re.match(rb"PING .*\n\[\d{10}\.\d{6}\] 64 bytes from ", result.stdout), result


@case("-A: the next probe goes when the last one is back, or when the interval is over")
def test_adaptive():
    for options in ((), ("--reconnect",)):
        with Peer(echo) as peer:
            _, probes, summary = ping("-A", "-i", "20s", "-c", "100", *options, peer.address)
            assert counts(summary) == {"sent": 100, "ok": 100}, summary
            assert [probe["seq"] for probe in probes] == list(range(1, 101)), probes
    with Peer(lambda connection: read_exactly(connection, 3 * 64)) as peer:
        _, _, summary = ping("-A", "-i", "10ms", "-c", "3", peer.address)
        assert counts(summary) == {"sent": 3, "lost": 3}, summary
        assert summary["duration_ns"] >= 20_000_000, summary


@case("-f: quiet, as fast as the answers come; its line on a terminal is rewritten")
def test_flood():
    with Peer(echo) as peer:
        result = run_echoctl("ping", "-f", "-c", "500", peer.address)
        assert result.returncode == 0 and result.stderr == b"", result
        head, *lines = result.stdout.decode().splitlines()
        assert head == f"PING {peer.address} ({peer.address}): 64 bytes", head
        assert lines[2].startswith("500 sent, 500 ok, 0 lost, 0 corrupt, 0 late in "), lines
        with Terminal(program("echoctl"), "ping", "-f", peer.address) as terminal:
            screen = terminal.wait(r"^[1-9]\d{3,} sent, \d+ back$")
            assert len(screen) == 2, screen
            terminal.press("C-c")
            screen = terminal.wait("EXIT 0")
            assert not any(line.endswith(" back") for line in screen), screen


@case("-f: who is neither on this host nor in a private network is not flooded without --yes")
def test_flood_refused():
    with Node() as node:
        node.run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
        result = node.echoctl("ping", "-u", "-f", "-c", "2", "192.0.2.1:9")
        assert result.returncode == 3 and not result.stdout, result
        assert b"192.0.2.1:9 is neither loopback nor private: --yes" in result.stderr, result
        result = node.echoctl("ping", "-u", "-f", "-c", "2", "--yes", "192.0.2.1:9")
        assert result.returncode == 2 and b"2 unreachable" in result.stdout, result


@case("-q leaves out the lines")
def test_quiet():
    with Peer(echo) as peer:
        result = run_echoctl("ping", "-q", "-c", "2", "-i", "5ms", "-W", "20s", peer.address)
        assert b"seq=" not in result.stdout and b"2 ok" in result.stdout, result
        for options in (["-q"], ["-q", "--reconnect"]):
            result = run_echoctl("--json", "ping", "-c", "2", "-i", "5ms", *options, peer.address)
            assert [event["event"] for event in events(result)] == ["ping_summary"], result


@case("a thousand probes a millisecond apart")
def test_millisecond():
    with Peer(echo) as peer:
        result, _, summary = ping("-c", "1000", "-i", "1ms", peer.address)
        assert result.returncode == 0, summary
        assert counts(summary) == {"sent": 1000, "ok": 1000}
        assert summary["duration_ns"] >= 999_000_000


@case("wrong usage: exit 3, the value named")
def test_usage():
    for arguments in (["-i", "0.5ms", "h"], ["-c", "0", "h"], ["-c", "x", "h"], ["-s", "2M", "h"],
                      ["-s", "0", "h"], ["--nonsense", "h"], [], ["-W", "0", "h"]):
        result = run_echoctl("ping", *arguments)
        assert result.returncode == 3, (arguments, result)
        assert result.stdout == b"" and b"ping" in result.stderr, (arguments, result)


@case("a Unix socket")
def test_unix():
    with temporary_directory() as folder, Peer(echo, folder + "/echo") as peer:
        result, _, summary = ping("-c", "3", "-i", "5ms", peer.address)
        assert result.returncode == 0, result
        assert counts(summary) == {"sent": 3, "ok": 3}
        assert summary["peer"] == peer.address, summary


@case("echod answers every probe")
def test_echod():
    with Echod() as echod:
        result, _, summary = ping("-c", "50", "-i", "5ms",
                                  f"127.0.0.1:{echod.port}")
        assert result.returncode == 0, result
        assert counts(summary) == {"sent": 50, "ok": 50}
        result, _, summary = ping("--reconnect", "-c", "20", "-i", "5ms",
                                  f"127.0.0.1:{echod.port}")
        assert result.returncode == 0, result
        assert counts(summary) == {"sent": 20, "ok": 20}


@case("--require: bounds decide, and what was measured is said")
def test_require():
    check_requirements(["ping", "-q", "-c", "4", "-i", "5ms", "-W", "500ms"], 25, rb": ")


main()
