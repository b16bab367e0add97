#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The benchmark's load generator finds every fault of a server; the report computes rightly."""
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../run"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import (BUILDDIR, DEADLINE_S, case, main,      # noqa: E402  pylint: disable=C0413
                     program, read_to_end, temporary_directory)
from datagrams import DatagramServer      # noqa: E402  pylint: disable=wrong-import-position
import machine      # noqa: E402  pylint: disable=wrong-import-position
import measure      # noqa: E402  pylint: disable=wrong-import-position
import report       # noqa: E402  pylint: disable=wrong-import-position
from servers import Place, Server       # noqa: E402  pylint: disable=wrong-import-position


def load(mode, port, *options):
    """Status and JSON of one run of the load generator."""
    done = subprocess.run([program("bench-load"), mode, "-t", "20", *options, f"127.0.0.1:{port}"],
                          capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


@contextlib.contextmanager
def reference(name, kind=Server):
    """One of the bench's own servers."""
    with temporary_directory() as folder:
        with kind(name, Place(BUILDDIR, folder)) as server:
            yield server


@contextlib.contextmanager
def faulty(serve):
    """A server that hands each connection to serve(sock), one at a time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def loop():
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    with sock, contextlib.suppress(OSError):
                        sock.settimeout(DEADLINE_S)
                        serve(sock)
        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE_S)


def echo_changed(change):
    """A server's way to serve: every piece goes through change(bytes) on its way back."""
    def serve(sock):
        while data := sock.recv(65536):
            sock.sendall(change(data))
    return serve


def flip_last_bit(data):
    """One bit is wrong."""
    return data[:-1] + bytes([data[-1] ^ 1])


@case("every mode is content with the epoll server, in bounds of count")
def test_epoll():
    with reference("epoll, one process") as server:
        status, result = load("rate", server.port, "-c", "8", "-n", "200", "-S", "4", "-s", "20")
        assert (status, result["completed"], result["failed"]) == (0, 200, 0), result
        status, result = load("ping", server.port, "-n", "50", "-s", "20")
        assert (status, result["messages"], result["failed"]) == (0, 50, 0), result
        status, result = load("stream", server.port, "-n", "5000000", "-s", "20")
        assert (status, result["bytes"], result["failed"]) == (0, 5000000, 0), result


@case("the fork server holds connections, and its whole group is counted and ended")
def test_hold():
    with reference("fork, libraries mapped") as server:
        result = measure.memory(Place(BUILDDIR, ""), server, 20, DEADLINE_S)
        assert result["failed_hold"] == 0, result
        # without a control group it is counted in ticks of 10 ms
        assert server.group.cpu_s() > 0 or server.group.folder is None
        group, pid = server.group, server.process.pid
    assert group.folder is None or not os.path.exists(group.folder)
    assert not machine.descendants(pid) and pid not in machine.parents()


@case("datagrams come back from each bare loop, sent alone and merged")
def test_bare_loops():
    for name in ("UDP bare loop", "UDP bare loop, GRO and GSO", "UDP bare loop, one a call"):
        with reference(name, DatagramServer) as server:
            for options in (("-b", "64"), ("-b", "1400", "-g")):
                status, result = load("datagram", server.port, "-c", "8", "-n", "500", "-s", "20",
                                      *options)
                assert status == 0 and result["datagrams"] >= 500, (name, result)
                assert result["failed"] == 0 == result["merged"], (name, result)


@contextlib.contextmanager
def faulty_datagrams(change):
    """A server that sends change(bytes) back, or nothing if that is empty."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def loop():
            while True:
                data, peer = sock.recvfrom(65536)
                if data == b"end":
                    return
                if answer := change(data):
                    sock.sendto(answer, peer)
        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        yield sock.getsockname()[1]
        with socket.socket(type=socket.SOCK_DGRAM) as last:
            last.sendto(b"end", sock.getsockname())
            thread.join(DEADLINE_S)


@case("datagram detects a flipped bit, merged answers and silence")
def test_faulty_datagrams():
    with faulty_datagrams(flip_last_bit) as port:
        status, result = load("datagram", port, "-w", "1", "-n", "2", "-s", "20")
        assert status == 1 and result["failed"] >= 2 and result["datagrams"] == 0, result
    with faulty_datagrams(lambda data: data + data) as port:
        status, result = load("datagram", port, "-w", "1", "-n", "4", "-s", "20")
        assert status == 0 and result["merged"] == result["datagrams"] >= 4, result
    with faulty_datagrams(lambda data: b"") as port:
        status, result = load("datagram", port, "-w", "1", "-s", "1")
        assert status == 1 and result["datagrams"] == 0 < result["lost"], result


FAULTS = (
    ("a flipped bit", echo_changed(flip_last_bit), "corrupt"),
    ("an excess byte", echo_changed(lambda data: data + b"!"), "excess"),
    ("an early end", lambda sock: sock.recv(65536), "early_fin"),
    ("a short echo", lambda sock: sock.sendall(sock.recv(65536)[:-1]), "early_fin"),
)


def register_fault(name, serve, failure):
    """One case for each fault that a server may have."""
    @case(f"rate detects {name}")
    def test_rate():
        with faulty(serve) as port:
            status, result = load("rate", port, "-n", "3", "-s", "20")
        assert status == 1 and result["completed"] == 0, result
        assert result["failures"][failure] == 3 == result["failed"], result


for fault in FAULTS:
    register_fault(*fault)


@case("a server that never answers is a stalled one")
def test_stalled():
    with faulty(lambda sock: sock.recv(1000) and sock.recv(1000)) as port:
        status, result = load("rate", port, "-n", "1", "-s", "20", "-t", "0.3")
    assert status == 1 and result["failures"]["stalled"] == 1, result


@case("ping and stream detect a flipped bit and a lost tail")
def test_streams():
    with faulty(echo_changed(flip_last_bit)) as port:
        for mode in ("ping", "stream"):
            status, result = load(mode, port, "-n", "100000", "-s", "20")
            assert (status, result["fault"]) == (1, "corrupt"), result

    def lose_tail(sock):
        sock.sendall(read_to_end(sock)[:1000])

    with faulty(lose_tail) as port:
        status, result = load("stream", port, "-n", "100000", "-s", "20")
    assert status == 1 and result["fault"] == "truncated", result


@case("the load generator refuses what is not loopback")
def test_loopback_only():
    for target in ("192.0.2.1:7", "0.0.0.0:7", "localhost:7", "127.0.0.1", "127.0.0.1:0"):
        done = subprocess.run([program("bench-load"), "rate", "-n", "1", target],
                              capture_output=True, timeout=DEADLINE_S, check=False)
        assert done.returncode == 2 and b"usage" in done.stderr, (target, done)


@case("medians, targets and charts follow from the rounds")
def test_report():
    rounds = [("echod", {"rate_64": rate, "memory_kb": 70.0, "failed_64": 1})
              for rate in (900, 1000, 5000)]
    rounds += [("epoll, one process", {"rate_64": 1900, "memory_kb": None})]
    results = report.medians(rounds)
    assert results["echod"] == {"rate_64": 1000, "memory_kb": 70.0, "failed_64": 3}
    noisy = [("echod", {"rate_64": rate, "foreign_cpu": rate / 1000}) for rate in range(1, 201)]
    assert report.medians(noisy)["echod"]["rate_64"] == 50.5
    assert "100 of 200" in report.disturbances(noisy)[0] and not report.disturbances(rounds)
    judged = {text: (measured, reached) for text, measured, _, reached in report.judge(results)}
    assert judged["connections/s at 64 clients / epoll"] == (1000 / 1900, True)
    assert judged["KB of an idle connection"] == (70.0, False)
    assert judged["connections/s at 64 clients / xinetd"] == (None, False)
    datagrams = {"UDP echod": {"datagrams_64": 900}, report.BARE: {"datagrams_64": 1000}}
    text = report.table(datagrams, {}, report.DATAGRAM_COLUMNS, report.BARE)
    assert "| UDP echod | 900 (0.90) | - |" in text, text
    text = report.table(results, {"ncat cat": "not installed"})
    assert "| echod | - | - | 1,000 |" in text and "ncat cat | not measured" in text
    assert report.chart(results).count("<rect") == 1 + 3


main()
