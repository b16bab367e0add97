#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A lean worker: its code refers to nothing that it has not, and it inherits little."""
import glob
import itertools
import os
import platform
import re
import shutil
import subprocess

from harness import (BUILDDIR, SRCDIR, case, exchange, main, note, temporary_directory,
                     wait_until)
from harness_listener import Listener, echoed
from harness_wire import WIRE

ALLOWED = {"echo_", "worker_"}


def is_lean():
    """As LEAN in src/base/sys.h."""
    with open(os.path.join(BUILDDIR, "config.h"), encoding="utf-8") as file:
        return "#define STATIC_LISTENER 1" in file.read() and platform.machine() == "x86_64"


def tool(*arguments):
    """The lines that a tool of binutils prints."""
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()


@case("the objects that run without libc have no data and call nothing but each other")
def test_objects():
    if not is_lean():
        note("a plain build: workers have all of the program")
        return
    objects = [path for name in ("worker", "datagram")
               for path in glob.glob(os.path.join(BUILDDIR, f"src/*/lib{name}_la-*.o"))]
    assert len(objects) == 11, objects
    own = {line.split()[-1] for line in tool("nm", "--defined-only", *objects) if " " in line}
    for path in objects:
        for line in tool("nm", "--undefined-only", path):
            assert line.split()[-1] in own, f"{path}: {line}"
        for line in tool("objdump", "-h", path):
            fields = line.split()
            if len(fields) > 2 and fields[1].startswith((".data", ".bss", ".tdata", ".tbss")):
                assert int(fields[2], 16) == 0, f"{path}: {line}"
        assert not any("%fs:" in line for line in tool("objdump", "-d", path)), path


def build_variable(name):
    """The words of a variable of the Makefile."""
    with open(os.path.join(BUILDDIR, "Makefile"), encoding="utf-8") as file:
        return re.search(rf"^{name} =(.*)$", file.read(), re.MULTILINE)[1].split()


def compile_with(compiler, *arguments):
    """True unless the compiler does not take these."""
    return subprocess.run([*compiler, "-std=gnu11", "-I", SRCDIR + "/src", "-include",
                           BUILDDIR + "/config.h", *arguments], capture_output=True,
                          check=False).returncode == 0


HOSTILE = ("-O0", "-O3", "-ftrivial-auto-var-init=zero", "-ftrivial-auto-var-init=pattern",
           "-fstack-protector-all", "-fhardened", "-flto", "-D_FORTIFY_SOURCE=2")


@case("whatever flags whoever builds has chosen: the worker's objects call nothing outside")
def test_flags():
    if not is_lean():
        note("a plain build: workers have all of the program")
        return
    compilers = [build_variable("CC"), *([name] for name in ("gcc", "clang") if shutil.which(name))]
    with temporary_directory() as folder:
        path = os.path.join(folder, "worker.o")
        for compiler, source in itertools.product(compilers, ("echo", "worker")):
            file = f"{SRCDIR}/src/worker/{source}.c"
            # as configure would have chosen
            ours = [flag for flag in build_variable("WORKER_CFLAGS")
                    if compile_with(compiler, "-Werror", flag, "-c", "-o", path, file)]
            for flag in HOSTILE:
                if not compile_with(compiler, flag, *ours, "-c", "-o", path, file):
                    note(f"{compiler} does not take {flag}")
                    continue
                called = {line.split()[-1] for line in tool("nm", "--undefined-only", path)}
                foreign = [name for name in called if not name.startswith(tuple(ALLOWED))]
                assert not foreign, (compiler, flag, foreign)


@case("a listener whose own code is compiled with hostile flags serves and is obeyed")
def test_hostile_flags():
    if not is_lean():
        note("a plain build: workers have all of the program")
        return
    compiler, hostile = build_variable("CC"), ("-O0", "-fstack-protector-all")
    sources = [path for room in ("base", "wire", "listener")
               for path in glob.glob(f"{SRCDIR}/src/{room}/*.c")
               if not path.endswith("coverage.c")]
    with temporary_directory() as folder:
        os.chmod(folder, 0o755)
        path = os.path.join(folder, "echod-listener")
        lean = [path for room in ("worker", "datagram")
                for path in glob.glob(f"{SRCDIR}/src/{room}/*.c")]
        workers = [os.path.join(folder, os.path.basename(source) + ".o") for source in lean]
        for worker, source in zip(workers, lean):
            flags = [*build_variable("WORKER_CFLAGS"),
                     *(["-fhosted"] if "/datagram/" in source else [])]
            assert compile_with(compiler, *hostile, *flags, "-c", "-o", worker, source)
        assert compile_with(compiler, *hostile, "-static", "-o", path, *workers, *sources)
        with Listener(program=path).ready() as listener, listener.connect() as client:
            assert echoed(client)
            slot, pid = listener.worker()
            listener.command(slot, WIRE.SLOT_END_DRAIN, pid + 1)
            assert echoed(client), "what another process was told"
            listener.end(slot, WIRE.SLOT_END_DRAIN, client)
            assert listener.closed()[0] == "drain"


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
