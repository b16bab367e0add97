#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
What the commands show on terminals of 40 and 80 columns, as pictures.txt has it. Addresses, paths
and numbers with their units are masked, lines that were broken are joined, charts are left out.
"""
import contextlib
import os
import re
import sys

from harness import SRCDIR, Echod, case, main, program, read_exactly, wait_until
from harness_terminal import Terminal

PICTURES = os.path.join(SRCDIR, "tests/run/pictures.txt")
SCREENS = {
    "ping": ("ping", "-c", "2", "-i", "10ms", "ADDRESS"),
    "targets": ("ping", "-q", "-c", "1", "ADDRESS", "127.0.0.1:1"),
    "trace": ("trace", "ADDRESS"),
    "sweep": ("sweep", "-s", "1,64K", "-p", "random,crlf", "ADDRESS"),
    "load": ("load", "--rate", "100", "-n", "10", "-c", "2", "ADDRESS"),
    "idle": ("idle", "--min", "20ms", "--max", "20ms", "--parallel", "1", "ADDRESS"),
    "halfclose": ("halfclose", "-s", "64", "--hold", "0", "ADDRESS"),
    "refused": ("sweep", "127.0.0.1:1"),
    "status": ("status",),
    "list": ("list",),
}
MASKS = (
    (r"^ +[\d.]+ [mun]?s - .*\n", ""),                      # a row of a chart
    (r"\n  +", " "),
    (r"127\.0\.0\.1(:\d*)?", "ADDRESS"),
    (r"/\S*/echod\.conf", "PATH"),
    (r"\[[█ ]*\]", "[BAR]"),
    (r"[+]?\b\d[\w.:/%-]*( ([mun]?s|min|([KM]i)?B)\b)?(/s)?", "N"),
    (r" +", " "),
)


@contextlib.contextmanager
def held_daemon():
    """It has one connection, of four bytes."""
    with Echod() as echod, echod.connect() as held:
        held.sendall(b"held")
        read_exactly(held, 4)
        yield echod


def mask(lines):
    text = "\n".join(lines) + "\n"
    for pattern, replacement in MASKS:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


def look(echod, name, width):
    """The masked screen; none of its lines may be wider."""
    command = [echod.address if word == "ADDRESS" else word for word in SCREENS[name]]
    with Terminal(program("echoctl"), "--control", echod.folder + "/control", *command,
                  width=width) as terminal:
        terminal.wait("^EXIT")
        lines = terminal.lines(joined=True)
    assert max(map(len, lines)) <= width, "\n".join(lines)
    return mask(lines)


def pictures():
    """The text of each, by its heading."""
    with open(PICTURES, encoding="utf-8") as file:
        parts = re.split(r"^== (.*)\n", file.read(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def compare(name):
    with held_daemon() as echod:
        for width in (40, 80):
            wanted = pictures().get(f"{name} {width}") or pictures()[name]
            seen = []

            def equal(width=width, wanted=wanted, seen=seen):
                seen.append(look(echod, name, width))
                return seen[-1] == wanted
            try:
                wait_until(equal, "the picture")
            except TimeoutError as error:
                raise AssertionError(f"{name} {width}:\n{wanted}is now:\n{seen[-1]}") from error


def draw():
    """Makes the file anew: test_pictures.py --draw."""
    with open(PICTURES, "w", encoding="utf-8") as file:
        for name in SCREENS:
            with held_daemon() as echod:
                narrow, wide = (look(echod, name, width) for width in (40, 80))
            file.write(f"== {name}\n{wide}" if narrow == wide else
                       f"== {name} 40\n{narrow}== {name} 80\n{wide}")


if sys.argv[1:] == ["--draw"]:
    draw()
    sys.exit()
for screen in SCREENS:
    case(f"{screen} looks as in its picture, on terminals of 40 and 80 columns")(
        lambda screen=screen: compare(screen))
main()
