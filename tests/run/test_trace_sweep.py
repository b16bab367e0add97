#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echoctl trace and sweep: phases with their times, sizes times patterns."""
import json
import re
import signal
import socket
import subprocess
import threading

from harness import (DEADLINE_S, Echod, case, main, note, program, read_to_end, run_echoctl,
                     unused_address)
from harness_peers import Peer, echo, events, flip

PATTERNS = ["random", "zeros", "ones", "crlf", "telnet", "http", "sip"]


@case("trace: every phase in order, with its time")
def test_trace():
    with Echod() as echod:
        port = echod.address.rpartition(":")[2]
        result = run_echoctl("--json", "trace", "-4", f"localhost:{port}")
        people = run_echoctl("trace", echod.address).stdout.decode()
    assert result.returncode == 0, result
    steps = events(result, "trace")
    phases = [step["phase"] for step in steps]
    assert phases[:3] == ["resolve", "connect", "first-sent"], phases
    assert sorted(phases[3:]) == ["eof", "fin", "first-back", "verified"], phases
    assert steps[0]["address"] == steps[1]["address"] == echod.address
    times = [step["time_ns"] for step in steps]
    assert times == sorted(times) and times[0] > 0
    (summary,) = events(result, "trace_summary")
    assert summary["end"] == "ok" and summary["bytes_received"] == 64
    assert summary["tcp_info"]["rtt_ns"] > 0 and summary["tcp_info"]["send_mss_bytes"] > 0
    for phase in phases:
        assert re.search(rf"^{phase} +[0-9.]+ ms +\+[0-9.]+ ms +\S", people, re.M), (phase, people)
    assert re.search(r"path MTU \d+ bytes, MSS \d+ bytes there, \d+ back\n", people), people


@case("trace: what took long stays in its column")
def test_trace_columns():
    def late(connection):
        peer.done.wait(0.15)
        echo(connection)

    with Peer(late) as peer:
        people = run_echoctl("trace", peer.address).stdout.decode()
    rows = [line for line in people.splitlines() if not line.startswith("tcp-info")]
    assert any(re.search(r" \+\d{3,}\.\d{3} ms", row) for row in rows), people
    assert len({row.rindex(" ms  ") for row in rows}) == 1, people


@case("trace: the phase that failed, and why")
def test_trace_failures():
    def early(connection):
        connection.sendall(read_to_end(connection)[:-1])

    def corrupt(connection):
        connection.sendall(flip(read_to_end(connection), 9))

    def no_fin(connection):
        connection.sendall(read_to_end(connection))
        peer.hold(connection)

    result = run_echoctl("--json", "trace", unused_address())
    assert result.returncode == 2
    assert events(result, "trace")[-1]["phase"] == "connect"
    assert events(result, "trace")[-1]["errno"] == "ECONNREFUSED"
    for handle, phase, message in ((early, "echo", "early EOF after 63 of 64 bytes"),
                                   (corrupt, "verify", "differs at offset 9"),
                                   (no_fin, "eof", "FIN swallowed")):
        with Peer(handle) as peer:
            result = run_echoctl("--json", "trace", "--drain-timeout", "2s", peer.address)
            assert result.returncode == 1
            last = events(result, "trace")[-1]
            assert last["phase"] == phase and message in last["message"], last


@case("sweep: all sizes and patterns come back from echod")
def test_sweep():
    with Echod() as echod:
        result = run_echoctl("--json", "sweep", echod.address)
        people = run_echoctl("sweep", "-s", "1,64K", "-p", "crlf,random", echod.address)
    assert result.returncode == 0, result
    cells = events(result, "sweep")
    assert len(cells) == 15 * 7 and {cell["pattern"] for cell in cells} == set(PATTERNS)
    assert all(cell["bytes_received"] == cell["size_bytes"] for cell in cells)
    assert events(result, "sweep_summary")[0]["passed"] == 105
    lines = people.stdout.decode().splitlines()
    assert [line.split() for line in lines[:3]] == [["size", "random", "crlf"],
                                                    ["1", "ok", "ok"], ["64K", "ok", "ok"]]
    assert lines[3].endswith("ok, all 4 came back unchanged")


@case("sweep: the first size, pattern and offset that fails")
def test_sweep_failures():
    def translate(connection):
        connection.sendall(read_to_end(connection).replace(b"\r\n", b"\n"))

    def small_only(connection):
        connection.sendall(read_to_end(connection)[:1000])

    with Peer(translate) as peer:
        result = run_echoctl("--json", "sweep", "-s", "2,100", "-p", "zeros,crlf", peer.address)
        people = run_echoctl("sweep", "-s", "2,100", "-p", "zeros,crlf", peer.address)
    assert result.returncode == people.returncode == 1
    (summary,) = events(result, "sweep_summary")
    assert summary["failed"] == 1 and summary["passed"] == 3
    assert summary["first_failed_size_bytes"] == 100
    assert summary["first_failed_pattern"] == "crlf"
    assert "first crlf of 100 bytes: differs at offset 1: sent 0x0d, got 0x0a" in \
        people.stdout.decode()
    with Peer(small_only) as peer:
        people = run_echoctl("sweep", "-s", "1000,1001", "-p", "http", peer.address)
    assert people.returncode == 1
    assert "first http of 1001 bytes: early EOF after 1000 of 1001 bytes" in people.stdout.decode()


@case("sweep: a target that is gone in the middle is no verdict of ok")
def test_sweep_target_gone():
    for options in ([], ["--json"]):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = "127.0.0.1:%d" % listener.getsockname()[1]
            with subprocess.Popen([program("echoctl"), *options, "sweep", address],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
                listener.settimeout(DEADLINE_S)
                connection, _ = listener.accept()
                listener.close()
                with connection:
                    connection.sendall(read_to_end(connection))
                output = client.communicate(timeout=DEADLINE_S)[0].decode()
        assert client.returncode == 2, output
        if options:
            summary = json.loads(output.splitlines()[-1])
            assert summary["event"] == "sweep_summary" and not summary["complete"], output
            assert summary["passed"] == 1 and summary["failed"] == 0, output
            continue
        _, row, *why, verdict = output.splitlines()
        assert row.split() == ["1", "ok", "lost"], output
        assert why and all(line.startswith("echoctl: ") for line in why), output
        assert verdict == f"{address}: not finished, the first 1 came back unchanged", output


@case("sweep: SIGINT prints what has been found, and is no failure of the path")
def test_sweep_interrupt():
    for options, well, wanted in (((), 0, "nothing has come back yet"),
                                  ((), 1, "the first 1 came back unchanged"),
                                  (("--json",), 1, None)):
        taken = threading.Event()

        def swallow_after(connection, well=well, taken=taken):
            if peer.connections <= well:
                echo(connection)
                return
            connection.recv(1)
            taken.set()
            peer.hold(connection)

        with Peer(swallow_after) as peer, \
                subprocess.Popen([program("echoctl"), *options, "sweep", peer.address],
                                 stdout=subprocess.PIPE) as client:
            try:
                assert taken.wait(DEADLINE_S), "the last cell is under way"
                client.send_signal(signal.SIGINT)
                *_, last = client.stdout.read().decode().splitlines()
                assert client.wait(DEADLINE_S) == 1, last
            finally:
                client.kill()
        if options:
            last = json.loads(last)
            assert (last["passed"], last["failed"], last["complete"]) == (1, 0, False), last
        else:
            assert last == f"{peer.address}: not finished, {wanted}", last


@case("sweep: unknown patterns and sizes are usage errors")
def test_sweep_usage():
    for arguments, phrase in ((("-p", "morse"), "--patterns morse: not a pattern"),
                              (("-s", "1,x"), "--sizes 1,x: not a size"),
                              (("-s", ""), "--sizes : not a size")):
        result = run_echoctl("sweep", *arguments, "localhost")
        assert result.returncode == 3 and phrase in result.stderr.decode(), result

@case("memory grows with what is in flight: 16 MB of address space are enough for little")
def test_address_space():
    limit = ["prlimit", "--as=16777216", program("echoctl")]
    if subprocess.run([*limit, "--version"], capture_output=True, check=False).returncode:
        note("the program alone takes more (sanitizers do)")
        return
    with Peer(echo) as peer:
        for command in ("trace", "send", "halfclose"):
            result = subprocess.run([*limit, command, peer.address], input=b"hello\n",
                                    capture_output=True, timeout=DEADLINE_S, check=False)
            assert result.returncode == 0, (command, result)



main()
