#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""TERM and INT: stop accepting, let connections end within the drain time, then end them."""
import os
import signal
import time

from harness import (Echod, case, connect_to, exchange, main, read_exactly, read_to_end,
                     send_and_close, wait_until)


def hold(echod):
    """A connection that has echoed once."""
    sock = echod.connect()
    sock.sendall(b"held")
    assert read_exactly(sock, 4) == b"held"
    return sock


def accepts(address):
    try:
        connect_to(address).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return False
    return True


@case("TERM without connections ends at once with status 0")
def test_idle():
    for number in (signal.SIGTERM, signal.SIGINT):
        with Echod({"timeouts": {"drain": "60s"}}) as echod:
            exchange(echod.connect(), b"x")
            started = time.monotonic()
            echod.signal(number)
            assert echod.wait() == 0
            assert time.monotonic() - started < 30, "it waited for the drain time"


@case("a connection survives TERM until it is done, new ones are refused")
def test_survives():
    with Echod({"timeouts": {"drain": "60s"}}) as echod:
        held = hold(echod)
        echod.signal(signal.SIGTERM)
        wait_until(lambda: not accepts(echod.address), "the port is closed")
        held.sendall(b"still served")
        assert read_exactly(held, 12) == b"still served"
        assert echod.popen.poll() is None
        send_and_close(held, b"tail")
        assert read_to_end(held) == b"tail"
        assert echod.wait() == 0
        assert echod.closed_connections(1)[0]["end"] == "fin"


@case("what is left after the drain time is ended in an orderly way and named")
def test_drain_over():
    with Echod({"timeouts": {"drain": "1s"}}) as echod:
        held = [hold(echod) for _ in range(5)]
        echod.signal(signal.SIGTERM)
        for sock in held:
            assert sock.recv(1) == b"", "an orderly end, no reset"
            sock.close()
        assert echod.wait() == 0
        ends = [fields["end"] for fields in echod.closed_connections(5)]
        assert ends == ["drain"] * 5, ends


@case("drain = 0 ends connections at once")
def test_no_drain():
    with Echod({"timeouts": {"drain": "0"}}) as echod:
        held = hold(echod)
        echod.signal(signal.SIGTERM)
        assert held.recv(1) == b""
        held.close()
        assert echod.wait() == 0


@case("a second TERM ends it at once")
def test_second():
    with Echod({"timeouts": {"drain": "600s"}}) as echod:
        held = hold(echod)
        worker = echod.wait_workers(1)[0]
        echod.signal(signal.SIGTERM)
        wait_until(lambda: not accepts(echod.address), "the port is closed")
        echod.signal(signal.SIGTERM)
        echod.wait()
        held.close()
        wait_until(lambda: not os.path.exists(f"/proc/{worker}"), "the worker is gone")


@case("signals that keep coming do not put off the end of a worker that stands still")
def test_impatient():
    with Echod({"timeouts": {"drain": "600s"}}) as echod:
        held = hold(echod)
        os.kill(echod.wait_workers(1)[0], signal.SIGSTOP)

        def insist():
            echod.signal(signal.SIGTERM)
            return echod.popen.poll() is not None

        wait_until(insist, "the end")
        assert echod.wait() == 0
        assert echod.closed_connections(1)[0]["end"] == "drain"
        assert sum("stopping at once" in line for line in echod.log()) == 1, echod.log()
        held.close()


@case("a peer that never closes cannot hold up the end")
def test_stubborn():
    with Echod({"timeouts": {"drain": "1s"}}) as echod:
        held = hold(echod)
        echod.signal(signal.SIGTERM)
        assert held.recv(1) == b""      # our side stays open
        assert echod.wait() == 0
        held.close()


@case("USR1 logs a line of totals and changes nothing")
def test_totals():
    with Echod() as echod:
        for _ in range(3):
            exchange(echod.connect(), b"12345")
        echod.closed_connections(3)
        mark = echod.log_mark()
        echod.signal(signal.SIGUSR1)
        line = echod.wait_log(r".*accepted.*", since=mark)[0][0]
        assert "3" in line and "15" in line, line
        assert exchange(echod.connect(), b"x") == b"x"


main()
