#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""ping, load and idle at a terminal: what the screen shows, and what keys do."""
import re

from harness import case, main, program
from harness_peers import Peer, echo
from harness_terminal import WIDTH, Terminal


def plain(lines, address):
    """Measured numbers as N, the address as ADDRESS, so that screens compare."""
    return [re.sub(r"\d+\.\d+", "N", line.replace(address, "ADDRESS")) for line in lines]


@case("ping: Ctrl-\\ tells how it stands, Ctrl-C ends")
def test_ping():
    with Peer(echo) as peer, Terminal(program("echoctl"), "ping", "-c", "3", "-i", "100ms", "-W",
                                      "20s", peer.address) as terminal:
        screen = plain(terminal.wait("EXIT"), peer.address)
        assert screen == [
            "PING ADDRESS (ADDRESS): 64 bytes",
            "64 bytes from ADDRESS: seq=1 time=N ms",
            "64 bytes from ADDRESS: seq=2 time=N ms",
            "64 bytes from ADDRESS: seq=3 time=N ms",
            "",
            "--- ADDRESS echo statistics ---",
            "3 sent, 3 ok, 0 lost, 0 corrupt, 0 late in N s",
            "rtt min/avg/max/mdev N/N/N/N ms",
            "rtt p50/p90/p99/pN N/N/N/N ms",
            "jitter N ms",
            "EXIT 0"], "\n".join(screen)
    with Peer(echo) as peer, Terminal(program("echoctl"), "ping", "-i", "1h", "-W",
                                      "20s", peer.address) as terminal:
        terminal.wait("seq=1")
        terminal.press("C-\\")
        terminal.wait("1 sent, 1 ok, 0 lost, 0 corrupt, 0 late")
        terminal.press("C-c")
        screen = terminal.wait("EXIT 0")
        assert sum("echo statistics" in line for line in screen) == 2, "\n".join(screen)


@case("load: the live line stays one, the histogram fits")
def test_load():
    with Peer(echo) as peer, Terminal(program("echoctl"), "load", "-d", "60s", "-c", "2",
                                      peer.address) as terminal:
        screen = terminal.wait(r"  ([2-9]|\d\d) s  2 open  [1-9]")
        live = [line for line in screen if " open  " in line]
        assert len(screen) == len(live) == 1, "\n".join(screen)
        assert re.fullmatch(r" +\d+ s  2 open  \d+ echoes/s  [\d.]+ MiB/s  p50 [\d.]+ [mun]?s  "
                            r"p99 [\d.]+ [mun]?s  0 errors", live[0]), live
        terminal.press("C-c")
        screen = terminal.wait("EXIT 0")
        bars = [line for line in screen if re.search(r"%  [█▏▎▍▌▋▊▉]", line)]
        assert len(bars) > 1, "\n".join(screen)
        assert max(len(line) for line in bars) == WIDTH - 1, "\n".join(bars)
        assert any("echoes verified in" in line for line in screen), "\n".join(screen)


@case("idle: progress is shown and gone at the end")
def test_idle():
    with Peer(echo) as peer, Terminal(program("echoctl"), "idle", "--min", "2500ms", "--max",
                                      "5s", "--parallel", "1", peer.address) as terminal:
        terminal.wait(r"\d s: [12] connections? silent, longest survived \d\.\d{3} s")
        screen = plain(terminal.wait("EXIT"), peer.address)
        assert screen == [
            "N s silent: alive, echo in N ms",
            "N s silent: alive, echo in N ms",
            "ADDRESS: path survives at least N silent seconds",
            "EXIT 0"], "\n".join(screen)


main()
