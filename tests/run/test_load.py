#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echoctl load: every byte verified, counts exact, errors by phase, bounded in time."""
import ctypes
import itertools
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time

from harness import (DEADLINE_S, Echod, case, child_pids, main, program, read_exactly, read_to_end,
                     run_echoctl, temporary_directory, wait_until)
from harness_peers import (Peer, by_message, echo, events, flip, full_backlog, full_unix_backlog,
                           reset, swallow)
from harness_ping import check_requirements

NO_ERRORS = {"connect": 0, "send": 0, "echo": 0, "verify": 0, "eof": 0}


def lose_data(listener):
    """Drops packets with data for the connections that come, until keep_data(CONNECTION)."""
    # ldb [13]; jset #8 (PSH), 0, 1; ret 0; ret -1
    code = ctypes.create_string_buffer(b"".join(
        struct.pack("HBBI", *step) for step in ((0x30, 0, 0, 13), (0x45, 0, 1, 8), (6, 0, 0, 0),
                                                (6, 0, 0, 0xffffffff))))
    listener.setsockopt(socket.SOL_SOCKET, 26,                      # SO_ATTACH_FILTER
                        struct.pack("HP", 4, ctypes.addressof(code)))


def keep_data(connection):
    connection.setsockopt(socket.SOL_SOCKET, 27, 0)                 # SO_DETACH_FILTER


def sent_again(local):
    """How often the kernel has sent something again over the socket, proc_pid_net(5)."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        return sum(int(words[6], 16) for words in map(str.split, file) if words[1] == local)


def load(*arguments):
    """Runs it with --json; the result and its summary."""
    result = run_echoctl("--json", "load", *arguments)
    return result, events(result, "load_summary")[-1]


@case("a count of messages is kept exactly, over several processes")
def test_count():
    with Peer(echo) as peer:
        result, summary = load("-n", "1001", "-c", "7", "--processes", "3", peer.address)
        assert result.returncode == 0, result
        assert summary["messages"] == 1001 and summary["verified_bytes"] == 64 * 1001, summary
        assert summary["connections_made"] == 7 and summary["processes"] == 3, summary
        assert summary["errors"] == NO_ERRORS
        assert summary["rtt"]["count"] == 1001
        assert 0 < summary["rtt"]["min_ns"] <= summary["rtt"]["p50_ns"] <= summary["rtt"]["max_ns"]
        assert peer.connections == 8, "one to find the address, seven for the load"


@case("large messages, which no buffer holds")
def test_large():
    with Peer(echo) as peer:
        result, summary = load("-n", "12", "-c", "3", "-s", "4M", "--timeout", "60s", peer.address)
        assert result.returncode == 0, result
        assert summary["messages"] == 12 and summary["verified_bytes"] == 12 << 22, summary


@case("a duration ends it")
def test_duration():
    with Peer(echo) as peer:
        result, summary = load("-d", "500ms", "-c", "2", "--timeout", "20s", peer.address)
        assert result.returncode == 0, result
        assert summary["duration_ns"] >= 500_000_000 and summary["messages"] > 0, summary


@case("a fixed rate: latency from when a message was due, and the raw one")
def test_rate():
    lock = threading.Lock()
    stalled = []

    def stall_once(_number, data):
        with lock:
            if len(stalled) == 50:
                # Nothing is answered meanwhile: the messages behind it are due all the same.
                peer.done.wait(0.4)
            stalled.append(1)
        return data

    with Peer(by_message(64, stall_once)) as peer:
        result, summary = load("-n", "200", "-c", "1", "--rate", "200", peer.address)
        assert result.returncode == 0, result
        assert summary["messages"] == 200, summary
        assert summary["duration_ns"] >= 199 * 5_000_000, summary
        raw, due = summary["rtt"], summary["latency_from_due"]
        assert raw["count"] == due["count"] == 200
        # One message met the stall; some eighty were due while it lasted.
        assert raw["max_ns"] >= 400_000_000
        assert due["p90_ns"] >= 200_000_000, due
        assert due["mean_ns"] > raw["mean_ns"] + 30_000_000, (raw, due)


@case("what was due and never began is not left out")
def test_not_begun():
    with Peer(swallow) as peer:
        for options in ([], ["--processes", "2", "-c", "3"], ["-n", "150"]):
            _, summary = load("-c", "1", "--rate", "1000", "-d", "200ms", "--timeout", "1s",
                              *options, peer.address)
            begun = summary["messages"] + sum(summary["errors"].values())
            assert summary["not_begun"] > 0, (options, summary)
            assert begun + summary["not_begun"] == (150 if options[:1] == ["-n"] else 200), summary
        result = run_echoctl("load", "-c", "1", "--rate", "1000", "-d", "200ms", "--timeout",
                             "1s", peer.address)
        assert re.search(rb"\n\d+ more were due, but no connection was free for them\n",
                         result.stdout), result
    with Peer(echo) as peer:
        _, summary = load("-n", "20", "--rate", "1000", peer.address)
        assert summary["messages"] == 20 and summary["not_begun"] == 0, summary
        _, summary = load("-n", "2", peer.address)
        assert "not_begun" not in summary, summary


@case("what was due and never began makes it fail, though nothing else has")
def test_not_begun_fails():
    with Peer(by_message(64, lambda _, data: peer.done.wait(0.3) or data)) as peer:
        result, summary = load("-c", "1", "--rate", "20", "-d", "1s", "--timeout", "20s",
                               peer.address)
        assert summary["errors"] == NO_ERRORS and summary["not_begun"] > 0, summary
        assert summary["messages"] + summary["not_begun"] == 20, summary
        assert result.returncode == 1, result


@case("what was due before the end begins, although the process that sends looks late")
def test_late_look():
    seen = []
    with Peer(by_message(64, lambda _, data: seen.append(data) or data)) as peer:
        command = subprocess.Popen(
            [program("echoctl"), "--json", "load", "-c", "64", "--processes", "1", "-d", "1s",
             "--rate", "50", peer.address], stdout=subprocess.PIPE)
        wait_until(lambda: seen, "messages are sent")
        (worker,) = child_pids(command.pid)
        os.kill(worker, signal.SIGSTOP)
        stopped = time.monotonic()
        wait_until(lambda: time.monotonic() > stopped + 1.2, "the end is over")
        os.kill(worker, signal.SIGCONT)
        output, _ = command.communicate(timeout=DEADLINE_S)
    summary = json.loads(output.splitlines()[-1])
    assert (summary["messages"], summary["not_begun"]) == (50, 0), summary
    assert command.returncode == 0


@case("a server that dies: with a rate the sum is what was due")
def test_rate_and_dead_server():
    listener = socket.create_server(("127.0.0.1", 0))
    address = "127.0.0.1:%d" % listener.getsockname()[1]
    ready = threading.Event()

    def serve():
        listener.accept()[0].close()
        for _ in range(4):
            threading.Thread(target=serve_one, args=(listener.accept()[0],), daemon=True).start()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        ready.set()

    def serve_one(connection):
        for _ in range(5):
            connection.sendall(read_exactly(connection, 64))
        ready.wait()
        reset(connection)

    threading.Thread(target=serve, daemon=True).start()
    _, summary = load("-c", "4", "-d", "2s", "--rate", "50", "--processes", "2", address)
    failed = sum(summary["errors"].values())
    assert summary["messages"] == 20 and summary["errors"]["connect"] > 0, summary
    assert summary["messages"] + failed + summary["not_begun"] == 100, summary


@case("a rate counts by the time in which messages were sent; the wait behind it costs no time")
def test_straggler():
    served = itertools.count()

    def hold_third(connection):
        if next(served) == 2:
            peer.hold(connection)
        echo(connection)

    for options in ([], ["--rate", "100"]):
        served = itertools.count()
        with Peer(hold_third) as peer:
            result, summary = load("-c", "3", "-d", "300ms", "--timeout", "3s", *options,
                                   peer.address)
            assert result.returncode == 1 and summary["errors"]["echo"] == 1, summary
            assert summary["duration_ns"] > 2_900_000_000, summary
            assert 0 < summary["sending_ns"] <= 300_000_000, summary
            rate = summary["messages"] * 1e9 / summary["sending_ns"]
            assert abs(summary["messages_per_s"] - rate) < rate / 1000, summary
            assert summary["client_cpu_s"] < 1.5, summary


@case("the time in which it was stopped itself belongs to no message")
def test_stopped():
    taken = threading.Event()

    def slow(connection):
        while data := connection.recv(1 << 16):
            taken.set()
            time.sleep(0.3)     # so that one is on its way
            connection.sendall(data)

    with Peer(slow) as peer, \
            subprocess.Popen([program("echoctl"), "--json", "load", "-c", "1", "-d", "1s",
                              "--rate", "3", "--timeout", "2s", peer.address],
                             stdout=subprocess.PIPE, start_new_session=True) as process:
        assert taken.wait(DEADLINE_S)
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(2.5)         # longer than the limit for a message
        os.killpg(process.pid, signal.SIGCONT)
        summary = json.loads(process.stdout.read())
    assert sum(summary["errors"].values()) == 0, summary
    assert summary["stopped_ns"] > 1_000_000_000, summary
    assert summary["rtt"]["max_ns"] < 2_000_000_000, summary
    assert summary["latency_from_due"]["max_ns"] < 2_000_000_000, summary


@case("the same for a loop that is stopped at any point of its work")
def test_stopped_at_work():
    with Echod() as echod, \
            subprocess.Popen([program("echoctl"), "--json", "load", "-c", "8", "-d", "1s",
                              "--timeout", "2s", echod.address],
                             stdout=subprocess.PIPE, start_new_session=True) as process:
        for _ in range(3):
            time.sleep(0.2)         # at work again
            os.killpg(process.pid, signal.SIGSTOP)
            time.sleep(2.2)         # longer than the limit for a message
            os.killpg(process.pid, signal.SIGCONT)
        summary = json.loads(process.stdout.read())
    assert sum(summary["errors"].values()) == 0, summary
    assert summary["rtt"]["max_ns"] < 2_000_000_000, summary


@case("--reconnect: a connection for each message, with half-close")
def test_reconnect():
    ends = []

    def count_ends(connection):
        echo(connection)
        ends.append(1)

    with Peer(count_ends) as peer:
        result, summary = load("--reconnect", "-n", "40", "-c", "4", peer.address)
        assert result.returncode == 0, result
        assert summary["messages"] == 40 and summary["connections_made"] == 40, summary
        assert summary["connect"]["count"] == 40
        wait_until(lambda: len(ends) == 41, "41 clean ends")


@case("errors are counted in their phase and make it fail")
def test_errors():
    def close_after_three(number, data):
        return data if number < 3 else None

    def never_close(connection):
        echo(connection)
        peer.done.wait()

    for handle, phase, options in (
            (by_message(64, lambda number, data: flip(data, 63) if number == 2 else data),
             "verify", []),
            (by_message(64, lambda _, data: data + b"!"), "verify", []),
            (by_message(64, close_after_three), "echo", []),
            (lambda _: None, "echo", []),
            (swallow, "echo", ["--timeout", "500ms"]),
            (never_close, "eof", ["--timeout", "2s", "--reconnect"])):
        with Peer(handle) as peer:
            result, summary = load("-n", "5", "-c", "1", *options, peer.address)
            assert result.returncode == 1, (phase, result)
            assert summary["errors"][phase] > 0, (phase, summary)
            assert sum(summary["errors"].values()) == summary["errors"][phase], summary
            assert summary["messages"] + summary["errors"][phase] == 5, summary


@case("a connection that is reset before it has a message: no FIN was awaited, so it is not eof")
def test_reset_unused():
    served, messages = itertools.count(), itertools.count()
    begun, opened_again = threading.Event(), threading.Event()

    def reset_the_other(connection):
        if next(served) > 2:
            opened_again.set()
            echo(connection)
            return
        # The first to have a message holds it; the other one has none for a second.
        while not (readable := select.select([connection], [], [], 0.01)[0]):
            if begun.is_set():
                break
        message = connection.recv(64) if readable else b""
        if not message or next(messages) > 0:
            reset(connection)
            return
        begun.set()
        opened_again.wait()
        connection.sendall(message)
        echo(connection)

    with Peer(reset_the_other) as peer:
        result, summary = load("-n", "3", "-c", "2", "--processes", "1", "--rate", "1",
                               "--timeout", "20s", peer.address)
        assert result.returncode == 1, result
        assert summary["messages"] == 2 and summary["errors"]["eof"] == 0, summary
        assert sum(summary["errors"].values()) == 1, summary


@case("a connection that ends behind the last message is no error, and is not opened again")
def test_ends_unused():
    served, gone = itertools.count(), threading.Event()

    def close_first(connection):
        message = read_exactly(connection, 64)
        if not message:
            return
        if next(served) == 0:
            connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)
            read_to_end(connection)     # until it was seen
            gone.set()
        else:
            gone.wait()
            connection.sendall(message)

    with Peer(close_first) as peer:
        result, summary = load("-n", "2", "-c", "2", "--processes", "1", "--timeout", "20s",
                               peer.address)
        assert result.returncode == 0, result
        assert summary["messages"] == 2 and summary["errors"] == NO_ERRORS, summary
        assert summary["connections_made"] == 2, summary


@case("a server that goes away: attempts to connect are counted, and it ends")
def test_gone():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def accept_once():
            listener.accept()[0].close()
            listener.close()

        server = threading.Thread(target=accept_once, daemon=True)
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        server.start()
        result, summary = load("-n", "6", "-c", "2", address)
        server.join()
    assert result.returncode == 1, result
    assert summary["messages"] == 0 and summary["errors"]["connect"] > 0, summary
    assert sum(summary["errors"].values()) == 6, summary


@case("connections that fail take no turn of the schedule")
def test_rate_after_failures():
    served = itertools.count()

    def refuse_at_first(connection):
        if next(served) > 64:
            echo(connection)

    with Peer(refuse_at_first) as peer:
        result, summary = load("-n", "66", "-c", "64", "--rate", "1", peer.address)
        assert result.returncode == 1, result
        failed = sum(summary["errors"].values())
        assert failed >= 60 and failed + summary["messages"] == 66, summary
        assert summary["duration_ns"] < 60_000_000_000, "it waited for the turns of the failures"


@case("a peer that does not read")
def test_not_reading():
    with Peer(None) as peer:
        peer.handle = peer.hold
        result, summary = load("-n", "1", "-c", "1", "-s", "16M", "--timeout", "300ms",
                               peer.address)
        assert result.returncode == 1, result
        assert summary["errors"]["send"] == 1 and summary["messages"] == 0, summary


@case("nobody accepts: each attempt to connect has the shorter of --timeout and --connect-timeout")
def test_connect_timeout():
    for options in (["--timeout", "300ms", "--connect-timeout", "1h"],
                    ["--timeout", "1h", "--connect-timeout", "300ms"]):
        with full_backlog() as target:
            result = run_echoctl("load", "-n", "2", "-c", "2", *options, target)
            assert result.returncode == 2 and b"connect: Connection timed out" in result.stderr, \
                (options, result)
        with temporary_directory() as folder, full_unix_backlog(folder + "/full", 1) as address:
            result, summary = load("-n", "2", "-c", "2", *options, address)
            assert result.returncode == 1, (options, result)
            assert summary["errors"] == dict(NO_ERRORS, connect=2), (options, summary)


@case("a Unix socket with a short backlog: all get through")
def test_unix_backlog():
    with temporary_directory() as folder, Peer(echo, folder + "/echo") as peer:
        peer.listener.listen(0)
        result, summary = load("--reconnect", "-n", "100", "-c", "10", "--timeout", "60s",
                               peer.address)
        assert result.returncode == 0 and summary["messages"] == 100, result


@case("text: rates, errors, percentiles, a histogram")
def test_text():
    with Peer(echo) as peer:
        result = run_echoctl("load", "-n", "500", "-c", "4", "--timeout", "20s", peer.address,
                             env=dict(os.environ, LC_ALL="C"))
        text = result.stdout.decode()
        assert result.returncode == 0, result
        assert f"--- {peer.address} load statistics ---\n4 connections, 64 bytes a message, " \
            "closed loop\n500 echoes verified in " in text, text
        assert "\nno errors\n" in text and " p99.99 " in text, text
        time = r" *[\d.]+ [mun]?s"
        rows = re.findall(rf"^{time} -{time} +(\d+) +([\d.]+)%  [#.]*$", text, re.M)
        assert sum(int(count) for count, _ in rows) == 500, text
        assert abs(sum(float(share) for _, share in rows) - 100) < 0.2, text
        assert result.stderr == b"", "no live line without a terminal"
        result = run_echoctl("load", "-n", "10", peer.address,
                             env=dict(os.environ, LC_ALL="C.UTF-8"))
        assert "%  █" in result.stdout.decode(), result


@case("SIGINT prints the summary")
def test_interrupt():
    with Peer(echo) as peer:
        with subprocess.Popen([program("echoctl"), "load", "-d", "60s", "--progress", peer.address],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            # The first may come before all are open, or have had an echo.
            lines = (line.decode() for line in process.stderr)
            assert any(re.search(r"^ +\d+ s  8 open  [1-9]\d* echoes/s  .* 0 errors$", line)
                       for line in lines), "no such line"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=DEADLINE_S)
            assert process.returncode == 0, (process.returncode, err)
            assert b"echoes verified" in out, out


@case("SIGQUIT tells how it stands, and it goes on")
def test_quit():
    with Peer(echo) as peer:
        with subprocess.Popen([program("echoctl"), "load", "-d", "1h", peer.address],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            wait_until(lambda: peer.connections == 9, "it has begun")
            line = b" 0 echoes/s "
            # What comes before the first echo has nothing to tell.
            while b" 0 echoes/s " in line:
                process.send_signal(signal.SIGQUIT)
                if select.select([process.stderr], [], [], 0.1)[0]:
                    line = process.stderr.readline()
            assert re.search(rb"^ +\d+ s  8 open  \d+ echoes/s  .* 0 errors$", line), line
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=DEADLINE_S)
            assert process.returncode == 0, (process.returncode, err)
            assert b"echoes verified" in out, out


@case("live lines as JSON")
def test_progress():
    with Peer(echo) as peer:
        result = run_echoctl("--json", "load", "-d", "2500ms", "--progress", peer.address)
        lines = events(result, "load_progress")
        assert len(lines) >= 1 and lines[0]["messages"] > 0, result.stdout
        assert lines[0]["p99_ns"] >= lines[0]["p50_ns"] > 0
    with Peer(swallow) as peer:
        arguments = ["load", "-d", "2500ms", "--timeout", "2500ms", "--progress", peer.address]
        lines = events(run_echoctl("--json", *arguments), "load_progress")
        assert lines[0]["messages"] == 0 and lines[0]["p50_ns"] is lines[0]["p99_ns"] is None
        assert b" p50 -  p99 -  " in run_echoctl(*arguments).stderr


@case("no descriptors for all the connections: a local error, and no process waits for another")
def test_no_descriptors():
    with Peer(echo) as peer:
        for options in ([], ["--reconnect"], ["--processes", "2", "-c", "19"]):
            result = subprocess.run(
                ["sh", "-c", 'ulimit -n 14; exec "$@"', "sh", program("echoctl"), "load",
                 "-d", "1h", "-c", "32", *options, peer.address],
                capture_output=True, timeout=DEADLINE_S, check=False)
            assert result.returncode == 4, (options, result)
            assert b"load: Too many open files" in result.stderr, (options, result)


@case("nobody listens: exit 2; wrong usage: exit 3")
def test_usage():
    assert run_echoctl("load", "127.0.0.1:1").returncode == 2
    for arguments in (["-c", "0", "h"], ["--rate", "0", "h"], ["-d", "0", "h"], ["-s", "0", "h"],
                      ["--processes", "17", "h"], [], ["-n", "-1", "h"]):
        result = run_echoctl("load", *arguments)
        assert result.returncode == 3, (arguments, result)


@case("echod under load, both ways")
def test_echod():
    with Echod() as echod:
        address = f"127.0.0.1:{echod.port}"
        result, summary = load("-n", "5000", "-c", "64", "--timeout", "20s", address)
        assert result.returncode == 0, result
        assert summary["messages"] == 5000, summary
        result, summary = load("--reconnect", "-n", "500", "-c", "16", "--timeout", "20s", address)
        assert result.returncode == 0, result
        assert summary["messages"] == 500, summary


@case("what the kernel knows of TCP: retransmits, and the rtt of each connection")
def test_tcp():
    def lose_at_first(connection):
        client = "%08X" % int.from_bytes(socket.inet_aton("127.0.0.1"), "little") + \
            ":%04X" % connection.getpeername()[1]
        wait_until(lambda: sent_again(client) or select.select([connection], [], [], 0)[0],
                   "the client sends it once more, or ends")
        keep_data(connection)
        echo(connection)

    with Peer(lose_at_first) as peer:
        lose_data(peer.listener)
        for options, count in (["-c", "3"], 3), (["-c", "3", "--reconnect"], 12):
            result, summary = load("-n", "12", "--timeout", "30s", *options, peer.address)
            tcp = summary["tcp_info"]
            assert result.returncode == 0 and tcp["retransmits"] >= count, (options, result)
            assert tcp["rtt"]["count"] == count and tcp["rtt"]["max_ns"] > 0, (options, tcp)
    with Peer(echo) as peer:
        text = run_echoctl("load", "-n", "12", "-c", "3", peer.address).stdout
        assert re.search(rb"\nTCP: \d+ retransmits; rtt min [\d.]+ us  p50 "
                         rb"[\d.]+ us  max [\d.]+ us\n", text), text
    with temporary_directory() as folder, Peer(echo, folder + "/echo") as peer:
        assert load("-n", "12", peer.address)[1]["tcp_info"] is None
        assert b"TCP" not in run_echoctl("load", "-n", "12", peer.address).stdout


@case("--require: bounds decide, and what was measured is said")
def test_require():
    check_requirements(["load", "-n", "4", "-c", "1", "--timeout", "500ms"], 50, rb"\n")
    with Peer(echo) as peer, temporary_directory() as folder, \
            Peer(echo, folder + "/echo") as local:
        for address, bounds, wanted in (
                (peer.address, "rate>1,retransmits<1000,errors<1", [True] * 3),
                (peer.address, "rate>1000000000", [False]),
                (peer.address, "retransmits<0", [False]),
                (local.address, "retransmits<1", [False])):
            result, summary = load("-n", "20", "--require", bounds, address)
            judged = events(result, "requirement")
            assert [one["holds"] for one in judged] == wanted, (bounds, judged)
            assert result.returncode == (0 if all(wanted) else 1), (bounds, result)
            for one in judged:
                if one["require"].startswith("rate"):
                    assert one["measured_per_s"] == summary["messages_per_s"], (one, summary)
        assert "measured" not in judged[0], judged


main()
