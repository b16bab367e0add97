#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echoctl check: what a monitoring system sees: one line, performance data, four codes."""
import os
import re
import signal
import subprocess
import threading
import time

from harness import (DEADLINE_S, Echod, case, main, program, read_exactly, read_to_end,
                     run_echoctl, unused_address)
from harness_peers import Peer, by_message, echo, events, flip, full_backlog, reset, swallow

OK, WARNING, CRITICAL, UNKNOWN = range(4)


def check(*arguments):
    """Exit status and the one line."""
    result = run_echoctl("check", *arguments)
    text = result.stdout.decode()
    assert text.count("\n") == 1 and text.endswith("\n"), result
    return result.returncode, text[:-1]


@case("OK with performance data, by -H and -p or by ADDRESS")
def test_ok():
    with Peer(echo) as peer:
        host, port = peer.address.split(":")
        number = r"\d+\.\d{6}"
        for target in (["-H", host, "-p", port], [peer.address], ["-H", peer.address],
                       [host, "-p", port]):
            code, text = check(*target)
            assert code == OK, text
            assert re.fullmatch(rf"ECHO OK - 64 bytes verified in {number} s"
                                rf"\|time={number}s;;;0;10\.000 size=64B;;;0", text), text


@case("thresholds are ranges, and stand in the performance data")
def test_thresholds():
    with Peer(echo) as peer:
        for options, wanted in (
                (["-w", "20", "-c", "30"], OK),
                (["-w", "20:", "-c", "30"], WARNING),
                (["-w", "@0:20", "-c", "~:30"], WARNING),
                (["-w", "20", "-c", "@~:20"], CRITICAL),
                (["-w", "0:0", "-c", "20:30"], CRITICAL),
                (["-c", "25:"], CRITICAL),
                (["-w", "25:"], WARNING)):
            code, text = check(*options, "-t", "20", peer.address)
            given = dict(zip(options[::2], options[1::2]))
            assert code == wanted, (options, text)
            assert text.startswith("ECHO " + ("OK", "WARNING", "CRITICAL")[wanted]), text
            assert f"s;{given.get('-w', '')};{given.get('-c', '')};0;20.000 " in text, text


@case("one probe of 64 bytes meets what commonly changes bytes")
def test_fragile():
    for name, change in (
            ("upper case", bytes.upper), ("lower case", bytes.lower),
            ("no NUL", lambda data: data.replace(b"\0", b"")),
            ("CRLF to LF", lambda data: data.replace(b"\r\n", b"\n")),
            ("LF to CRLF", lambda data: re.sub(rb"(?<!\r)\n", b"\r\n", data)),
            ("CR to LF", lambda data: data.replace(b"\r", b"\n")),
            ("seven bits", lambda data: bytes(byte & 127 for byte in data)),
            ("no IAC", lambda data: data.replace(b"\xff", b"")),
            ("UTF-8 alone", lambda data: data.decode(errors="ignore").encode())):
        # The header alone, which differs from run to run, changes nothing.
        def damage(_number, data, change=change):
            return data[:16] + change(data[16:])
        with Peer(by_message(64, damage)) as peer:
            for command in (["check", "-t", "1"], ["ping", "-c", "1", "-W", "500ms"],
                            ["load", "-n", "1", "-c", "1", "--timeout", "500ms"]):
                result = run_echoctl(*command, peer.address)
                wanted = CRITICAL if command[0] == "check" else 1
                assert result.returncode == wanted, (name, command, result)


@case("a large message")
def test_size():
    with Peer(echo) as peer:
        code, text = check("-s", "2M", peer.address)
        assert code == OK and " 2097152 bytes verified" in text, text


@case("--halfclose wants the echo and the FIN behind it")
def test_half_close():
    def keep_open(connection):
        connection.sendall(read_to_end(connection))
        peer.done.wait()

    def drop_at_end(connection):
        read_to_end(connection)

    with Peer(echo) as peer:
        code, text = check("--halfclose", peer.address)
        assert code == OK and "half-close passed" in text, text
    with Peer(keep_open) as peer:
        code, text = check("--halfclose", "-t", "3", peer.address)
        assert code == CRITICAL and "eof: no answer in time after 64 of 64" in text, text
    with Peer(drop_at_end) as peer:
        code, text = check("--halfclose", peer.address)
        assert code == CRITICAL and "after 0 of 64 bytes" in text, text
        assert "|" not in text, text


@case("CRITICAL, with the phase: refused, black hole, closed, reset, changed, too much")
def test_critical():
    def close_early(connection):
        connection.sendall(read_exactly(connection, 64)[:10])

    def answer_with_reset(connection):
        read_exactly(connection, 64)
        reset(connection)

    code, text = check(unused_address())
    assert code == CRITICAL and "connect: Connection refused" in text, text
    for handle, wanted in (
            (swallow, "echo: no answer in time after 0 of 64 bytes"),
            (close_early, "echo: the peer closed the connection after 10 of 64 bytes"),
            (answer_with_reset, "echo: Connection reset by peer after 0 of 64 bytes"),
            (by_message(64, lambda _, data: flip(data, 33)),
             "echo: other bytes came back than were sent after 33 of 64 bytes"),
            (by_message(64, lambda _, data: data + data),
             "other bytes came back than were sent after 64 of 64 bytes")):
        with Peer(handle) as peer:
            code, text = check("-t", "1" if handle == swallow else "20", peer.address)
            assert code == CRITICAL, text
            assert text.startswith(f"ECHO CRITICAL - {peer.address}: "), text
            assert text.endswith(wanted), (text, wanted)


@case("CRITICAL after -t, with all the rest of the echo ready by then")
def test_too_late():
    for options in ([], ["--halfclose"]):
        asked, stopped = threading.Event(), threading.Event()

        def hold_back(connection, asked=asked, stopped=stopped):
            message = read_exactly(connection, 64)
            asked.set()
            stopped.wait()
            connection.sendall(message)

        with Peer(hold_back) as peer:
            with subprocess.Popen([program("echoctl"), "check", "-t", "2", *options, peer.address],
                                  stdout=subprocess.PIPE, text=True) as process:
                assert asked.wait(DEADLINE_S), "no message"
                process.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, process.pid, os.WSTOPPED)
                stopped.set()
                # Its time began before the message.
                peer.done.wait(2.1)
                process.send_signal(signal.SIGCONT)
                text, _ = process.communicate(timeout=DEADLINE_S)
            assert process.returncode == CRITICAL and "|" not in text, (options, text)
            assert "echo: no answer in time after 0 of 64 bytes" in text, (options, text)


@case("a name that does not resolve is CRITICAL")
def test_resolve():
    code, text = check("-H", "nowhere.invalid")
    assert code == CRITICAL and "nowhere.invalid: resolve: " in text, text


@case("wrong usage is UNKNOWN")
def test_usage():
    for arguments in ([], ["-w", "x", "h"], ["-c", "2:1", "h"], ["-t", "0", "h"], ["-t", "-1", "h"],
                      ["-p", "0", "h"], ["-p", "65536", "h"], ["--nonsense", "h"],
                      ["-H", "a", "b"], ["-H", "[::1"], ["-s", "17M", "h"]):
        code, text = check(*arguments)
        assert code == UNKNOWN and text.startswith("ECHO UNKNOWN - "), (arguments, text)
    # All that a monitoring system may show; the bar would begin the performance data.
    _, text = check("-w", "x|y", "h")
    assert text == "ECHO UNKNOWN - --warning x/y: not a range (as 10, 10:, ~:10, 10:20, @10:20)"


@case("--json")
def test_json():
    with Peer(echo) as peer:
        result = run_echoctl("check", "--json", peer.address)
        event, = events(result)
        assert result.returncode == OK
        assert event["state"] == "OK" and event["code"] == 0 and event["time_ns"] > 0, event
    result = run_echoctl("check", "--json", unused_address())
    event, = events(result)
    assert result.returncode == CRITICAL and event["state"] == "CRITICAL", event
    assert "time_ns" not in event


@case("echod, with the half-close")
def test_echod():
    with Echod() as echod:
        code, text = check("-H", "127.0.0.1", "-p", str(echod.port), "--halfclose", "-s", "1M",
                           "-t", "20")
        assert code == OK, text


@case("UNKNOWN: no descriptor for a socket is no fault of the target")
def test_no_descriptors():
    with Peer(echo) as peer:
        for target, phase in ((peer.address, "socket"), ("host.invalid", "resolve")):
            result = subprocess.run(
                ["sh", "-c", 'ulimit -n 4; exec "$@"', "sh", program("echoctl"), "check",
                 target], capture_output=True, text=True, timeout=DEADLINE_S, check=False,
                # a search for leaks needs descriptors
                env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
            assert result.returncode == UNKNOWN, result
            assert result.stdout.endswith(f": {phase}: Too many open files: a process may have 4 "
                                          "(ulimit -n)\n"), result


@case("-t is the time for connecting too, a longer one than that of other commands as well")
def test_long_timeout():
    with full_backlog() as target:
        for options, least_s, most_s in ((["-t", "10.5"], 10.5, DEADLINE_S),
                                         (["-t", "20", "--connect-timeout", "100ms"], 0.1, 10)):
            start = time.monotonic()
            code, text = check(*options, target)
            took_s = time.monotonic() - start
            assert code == CRITICAL and "connect: Connection timed out" in text, text
            assert least_s <= took_s < most_s, (options, took_s)


main()
