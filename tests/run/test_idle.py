#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echoctl idle: finds how long a silent connection lives, and how it dies."""
import contextlib
import json
import re
import signal
import socket
import subprocess
import threading
import time

from harness import DEADLINE_S, Echod, case, main, program, run_echoctl
from harness_peers import Peer, echo, events, forget, swallow

SECOND = 1_000_000_000


def idle(*arguments):
    """Runs it with --json; the result, its probes and its verdict."""
    result = run_echoctl("--json", "idle", *arguments)
    return result, events(result, "idle_probe"), events(result, "idle_verdict")[-1]


@case("a path that forgets nothing survives")
def test_survives():
    with Peer(echo) as peer:
        result, probes, verdict = idle("--min", "50ms", "--max", "400ms", "--parallel", "2",
                                       "--timeout", "20s", peer.address)
        assert result.returncode == 0, result
        assert verdict["survives_ns"] >= 400_000_000 and "dies_ns" not in verdict, verdict
        assert verdict["how"] is None and verdict["complete"], verdict
        planned = [50, 75, 100, 150, 200, 300, 400]
        assert len(probes) == len(planned), probes
        for probe, silence in zip(sorted(probes, key=lambda p: p["silence_ns"]), planned):
            assert probe["result"] == "alive" and probe["silence_ns"] >= silence * 1_000_000, probe


@case("how it dies: by FIN or RST while silent, by RST or in a black hole when used again")
def test_how():
    for how, wanted, seen in (("fin", "fin", True), ("reset", "reset", True),
                              ("late reset", "reset", False), ("black hole", "black hole", False)):
        # far from the silences that are tried before and after it, 0.8 s and 1.6 s
        with Peer(forget(1.1, how)) as peer:
            result, _, verdict = idle("--min", "100ms", "--max", "10s", "--parallel", "1",
                                      "--timeout", "2s" if how == "black hole" else "20s",
                                      "--precision", "60", peer.address)
            assert result.returncode == 1, (how, result)
            assert verdict["how"] == wanted and verdict["seen_while_silent"] == seen, (how, verdict)
            # A busy machine: the server forgets later, or our silence begins after its own.
            assert verdict["survives_ns"] < 4 * SECOND, (how, verdict)
            assert verdict["dies_ns"] >= 0.5 * SECOND, (how, verdict)


@case("bisection narrows the bounds")
def test_bisection():
    with Peer(forget(0.85, "late reset")) as peer:
        result, probes, verdict = idle("--min", "100ms", "--max", "2s", "--parallel", "1",
                                       "--precision", "60", "--timeout", "5s", peer.address)
        assert result.returncode == 1, result
        # 0.8 s lived and 1.6 s did not, or the machine was slow: in any case the bounds are close.
        assert verdict["dies_ns"] - verdict["survives_ns"] <= 0.6 * verdict["dies_ns"], verdict
        assert any(probe["result"] == "dead" for probe in probes)


@case("bounds are as close as asked, also if the end is seen, or the first echo is slow")
def test_precision():
    def slow(connection):
        connection.recv(1, socket.MSG_PEEK)
        time.sleep(0.5)     # the server's, which is what is tested
        forget(0.7, "fin")(connection)

    for handle in (forget(0.7, "fin"), slow):
        with Peer(handle) as peer:
            result, probes, verdict = idle("--min", "100ms", "--max", "20s", "--parallel", "2",
                                           "--precision", "8", "--timeout", "20s", peer.address)
            assert result.returncode == 1 and verdict["how"] == "fin", verdict
            assert verdict["dies_ns"] - verdict["survives_ns"] <= 0.08 * verdict["dies_ns"], verdict
            # The silences of all of them begin together, however long each first echo takes.
            assert max(probe["silence_ns"] for probe in probes) < 5 * SECOND, probes


@case("an end that came while it was stopped itself is looked for again")
def test_stopped():
    with Peer(forget(0.5, "fin")) as peer, \
            subprocess.Popen([program("echoctl"), "--json", "idle", "--min", "100ms", "--max",
                              "20s", "--parallel", "1", "--precision", "50", peer.address],
                             stdout=subprocess.PIPE, text=True) as process:
        assert '"alive"' in process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        time.sleep(2)       # longer than what is looked for: the ends come meanwhile
        process.send_signal(signal.SIGCONT)
        verdict = json.loads(process.stdout.read().splitlines()[-1])
        assert process.wait(DEADLINE_S) == 1
        assert verdict["dies_ns"] < 1.5 * SECOND, verdict


@case("text: a line for each silence, the verdict last")
def test_text():
    with Peer(forget(0.5, "fin")) as peer:
        result = run_echoctl("idle", "--min", "50ms", "--max", "20s", "--parallel", "1",
                             peer.address)
        lines = result.stdout.decode().splitlines()
        assert result.returncode == 1, result
        assert any(line.endswith(" s silent: dead (fin)") for line in lines), lines
        assert re.match(rf"{peer.address}: between \d+\.\d+ and \d", lines[-1]), lines
        assert lines[-1].endswith(" silent seconds kill it: fin"), lines
    with Peer(echo) as peer:
        result = run_echoctl("idle", "--min", "50ms", "--max", "50ms", peer.address)
        assert re.match(rf"{peer.address}: path survives at least \d+\.\d+ silent seconds",
                        result.stdout.decode().splitlines()[-1]), result


@case("no echo before any silence: said, exit 1")
def test_no_echo():
    with Peer(swallow) as peer:
        result = run_echoctl("idle", "--max", "2s", "--timeout", "2s", peer.address)
        assert result.returncode == 1, result
        assert b"before any silence: no answer in time" in result.stderr, result


@case("SIGINT prints what is known so far")
def test_interrupt():
    with Peer(echo) as peer:
        with subprocess.Popen([program("echoctl"), "idle", "--min", "50ms", "--max", "1h",
                               "--parallel", "1", peer.address],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert b"alive" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=DEADLINE_S)
            assert process.returncode == 1, (process.returncode, err)
            assert b"path survives at least " in out, out


@case("without --min the shortest silence is not above the longest")
def test_max_alone():
    with Peer(echo) as peer:
        result, probes, verdict = idle("--max", "50ms", "--timeout", "20s", peer.address)
        assert result.returncode == 0 and len(probes) == 1, result
        assert verdict["survives_ns"] >= 50_000_000, verdict


@case("a server that is gone after the first round: what that has found is told")
def test_gone():
    def handle(connection):
        with connection, contextlib.suppress(OSError):
            forget(0.15, "late reset")(connection)

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        def serve():
            # One finds the address, three are silent for 100, 200 and 400 ms.
            for _ in range(4):
                threading.Thread(target=handle, args=listener.accept()[:1], daemon=True).start()
            listener.close()

        threading.Thread(target=serve, daemon=True).start()
        result, _, verdict = idle("--min", "100ms", "--max", "400ms", "--parallel", "1",
                                  "--timeout", "20s", "127.0.0.1:%d" % listener.getsockname()[1])
    assert result.returncode == 2 and b"Connection refused" in result.stderr, result
    assert verdict["dies_ns"] > 0 and not verdict["complete"], verdict


@case("SIGQUIT tells how it stands, with -q too, and it goes on")
def test_quit():
    for options in ((), ("-q",)):
        with Peer(echo) as peer, \
                subprocess.Popen([program("echoctl"), *options, "idle", "--min", "10ms",
                                  "--max", "1h", peer.address], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE) as process:
            process.stdout.readline()
            process.send_signal(signal.SIGQUIT)
            # if it shows nothing, its end is what readline() gets
            killer = threading.Timer(DEADLINE_S, process.kill)
            killer.start()
            line = process.stderr.readline()
            killer.cancel()
            assert re.fullmatch(rb"echoctl: \d+ s: \d+ connections silent, longest survived "
                                rb"\d+\.\d{3} s\n", line), line
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=DEADLINE_S)
            assert process.returncode == 1 and b"survives at least" in out, out


@case("nobody listens: exit 2; wrong usage: exit 3")
def test_usage():
    assert run_echoctl("idle", "127.0.0.1:1").returncode == 2
    for arguments in (["--min", "1ms", "h"], ["--max", "8d", "h"], ["--parallel", "17", "h"], [],
                      ["--min", "2s", "--max", "1s", "h"], ["--precision", "0", "h"]):
        result = run_echoctl("idle", *arguments)
        assert result.returncode == 3, (arguments, result)


@case("echod's idle timeout is found")
def test_echod():
    with Echod({"timeouts": {"idle": "1s"}}) as echod:
        result, _, verdict = idle("--min", "100ms", "--max", "20s", "--timeout", "20s",
                                  "--parallel", "1", f"127.0.0.1:{echod.port}")
        assert result.returncode == 1, result
        assert verdict["seen_while_silent"] and verdict["how"] == "fin", verdict
        assert 0.5 * SECOND <= verdict["dies_ns"], verdict


@case("no descriptors for all the connections: a local error, not the target's")
def test_no_descriptors():
    with Peer(echo) as peer:
        result = subprocess.run(
            ["sh", "-c", 'ulimit -n 20; exec "$@"', "sh", program("echoctl"), "idle",
             "--min", "10ms", "--max", "1s", peer.address],
            capture_output=True, timeout=DEADLINE_S, check=False)
        assert result.returncode == 4, result
        assert b"socket before any silence: Too many open files" in result.stderr, result


main()
