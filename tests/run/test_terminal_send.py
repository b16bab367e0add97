#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""send and sweep at a terminal: lines, q, progress, keys."""
import os
import re
import threading

from harness import case, main, program, temporary_directory
from harness_peers import Peer, echo
from harness_terminal import Terminal


def screen_of(lines, address):
    """Times and rates as N, the address as ADDRESS, so that screens compare."""
    lines = [line.replace(address, "ADDRESS") for line in lines]
    return [re.sub(r"\d+\.\d+ s, .*/s$", "N", line) for line in lines]


@case("send: each line comes back, q alone ends")
def test_q():
    for key in ("q", "Q"):
        with Peer(echo) as peer, Terminal(program("echoctl"), peer.address) as terminal:
            terminal.type("hello")
            terminal.wait_count("hello", 2)
            terminal.type("quit it")
            terminal.wait_count("quit it", 2)
            terminal.type(key)
            screen = screen_of(terminal.wait("EXIT"), peer.address)
            assert screen == [
                "hello", "hello", "quit it", "quit it", key,
                "echoctl: ADDRESS: 14 bytes sent, 14 received, verified, N",
                "EXIT 0"], "\n".join(screen)


@case("send: Ctrl-D ends, Ctrl-C interrupts with the summary")
def test_keys():
    with Peer(echo) as peer:
        with Terminal(program("echoctl"), peer.address) as terminal:
            terminal.type("a")
            terminal.wait_count("a", 2)
            terminal.press("C-d")
            assert "2 bytes sent, 2 received, verified" in "\n".join(terminal.wait("EXIT 0"))
        with Terminal(program("echoctl"), peer.address) as terminal:
            terminal.type("a")
            terminal.wait_count("a", 2)
            terminal.press("C-c")
            screen = "\n".join(terminal.wait("EXIT 1"))
            assert "interrupted" in screen and "2 bytes sent, 2 received" in screen, screen


@case("send: the server's end is seen while the keyboard is waited for")
def test_server_ends():
    with Peer(lambda connection: connection.sendall(connection.recv(100))) as peer, \
            Terminal(program("echoctl"), peer.address) as terminal:
        terminal.type("bye")
        screen = "\n".join(terminal.wait("EXIT 1"))
        assert "early EOF after 4 of 4 bytes" in screen, screen


@case("send: progress of a file is shown, and gone at the end")
def test_progress():
    go_on = threading.Event()

    def halfway(connection):
        connection.sendall(connection.recv(65536))
        go_on.wait()
        echo(connection)

    with Peer(halfway) as peer, temporary_directory() as folder:
        path = os.path.join(folder, "data")
        with open(path, "wb") as file:
            file.truncate(64 << 20)
        with Terminal("sh", "-c", f"{program('echoctl')} send --drain-timeout 5min {peer.address} "
                      f"<{path} >{path}.back") as terminal:
            terminal.wait(" in flight, 0%, ")
            line = "\n".join(terminal.wait(" s left"))
            assert re.fullmatch(r"[\d.]+ KiB back, [\d.]+ [KM]?i?B/s, [\d.]+ MiB in flight, 0%, "
                                r"\d+ s left", line), line
            go_on.set()
            screen = screen_of(terminal.wait("EXIT 0"), peer.address)
            assert screen == ["echoctl: ADDRESS: 67108864 bytes sent, 67108864 received, "
                              "verified, N", "EXIT 0"], "\n".join(screen)
        with Terminal("sh", "-c", f"{program('echoctl')} -q {peer.address} <{path} >/dev/null") \
                as terminal:
            assert terminal.wait("EXIT 0") == ["EXIT 0"]


@case("sweep: the table grows cell by cell")
def test_sweep():
    with Peer(echo) as peer, Terminal(program("echoctl"), "sweep", "-s", "1,1460,1M",
                                      peer.address) as terminal:
        screen = terminal.wait("EXIT")
        assert screen == [
            "size       random   zeros    ones    crlf  telnet    http     sip",
            "1              ok      ok      ok      ok      ok      ok      ok",
            "1460           ok      ok      ok      ok      ok      ok      ok",
            "1M             ok      ok      ok      ok      ok      ok      ok",
            f"{peer.address}: ok, all 21 came back unchanged",
            "EXIT 0"], "\n".join(screen)


main()
