#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A lean worker: its code refers to nothing that it has not, and it inherits little."""
import glob
import os
import platform
import subprocess

from harness import BUILDDIR, case, exchange, main, note, wait_until
from harness_listener import Listener

ALLOWED = {"echo_", "worker_"}


def is_lean():
    """As LEAN in src/base/sys.h."""
    with open(os.path.join(BUILDDIR, "config.h"), encoding="utf-8") as file:
        return "#define STATIC_LISTENER 1" in file.read() and platform.machine() == "x86_64"


def tool(*arguments):
    """The lines that a tool of binutils prints."""
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()


@case("the worker's objects have no data and call nothing outside")
def test_objects():
    if not is_lean():
        note("a plain build: workers have all of the program")
        return
    objects = glob.glob(os.path.join(BUILDDIR, "src/worker/libworker_la-*.o"))
    assert len(objects) == 2, objects
    for path in objects:
        for line in tool("nm", "--undefined-only", path):
            name = line.split()[-1]
            assert any(name.startswith(prefix) for prefix in ALLOWED), f"{path}: {name}"
        for line in tool("objdump", "-h", path):
            fields = line.split()
            if len(fields) > 2 and fields[1].startswith((".data", ".bss", ".tdata", ".tbss")):
                assert int(fields[2], 16) == 0, f"{path}: {line}"
        assert not any("%fs:" in line for line in tool("objdump", "-d", path)), path


def windows(mappings):
    """The 2 MiB of one page table each in which these lines of /proc/PID/maps lie."""
    found = set()
    for line in mappings:
        begin, end = (int(address, 16) for address in line.split()[0].split("-"))
        found |= set(range(begin >> 21, (end - 1 >> 21) + 1))
    return found


@case("a worker inherits a handful of mappings and touches a handful of pages")
def test_mappings():
    if not is_lean():
        note("a plain build: workers inherit everything")
        return
    with Listener(connections=1000).ready() as listener:
        assert exchange(listener.connect(), b"x") == b"x"
        wait_until(lambda: listener.live == 0, "the first is reaped")
        client = listener.connect()
        client.sendall(b"x" * 64)
        assert len(client.recv(64)) == 64
        (pid,) = listener.pids()
        with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
            maps = file.read().splitlines()
        with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
            dirty = {line.split(":")[0]: line.split()[1] for line in file if "kB" in line}
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            faults = int(file.read().rpartition(")")[2].split()[7])
        # text (twice where it lies across what the kernel maps at once); stack and buffer; slot
        assert faults <= 4, f"{faults} page faults"
        assert len(maps) <= 6, "\n".join(maps)
        assert int(dirty["Anonymous"]) <= 4, dirty
        # beside its own code; where the text was put across a border, the rest of that is elsewhere
        text = [line for line in maps if " r-xp " in line]
        data = [line for line in maps if " r-xp " not in line and "[vsyscall]" not in line]
        assert len(windows(data)) == 1 and windows(data) <= windows(text), "\n".join(maps)


main()
