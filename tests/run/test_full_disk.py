#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A full disk under log and metrics: the echo goes on, what the log lost is counted and said."""
import contextlib
import os
import re
import subprocess

from harness import (DEADLINE_S, Echod, Skip, case, connect_to, exchange, foreign, main, program,
                     render_settings, temporary_directory, wait_accepts, wait_until)

TOTAL = 400     # connections while the disk is full: more lines than the queue holds


@contextlib.contextmanager
def small_disk():
    """A folder on a disk of its own with little room."""
    if os.geteuid() != 0:
        raise Skip("only root mounts a disk")
    with temporary_directory() as folder:
        disk = os.path.join(folder, "disk")
        os.mkdir(disk)
        if subprocess.run([foreign("mount"), "-t", "tmpfs", "-o", "size=256k,mode=777", "tmpfs",
                           disk], check=False).returncode != 0:
            raise Skip("no disk can be mounted here")
        try:
            yield folder, disk
        finally:
            subprocess.run([foreign("umount"), "--lazy", disk], check=True)


def fill(disk):
    """Writes until nothing more goes; the file that took it."""
    path = os.path.join(disk, "filler")
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    with open(path, "ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0")
    return path


@contextlib.contextmanager
def logging_to(path, folder, metrics):
    """echod that appends its log to a file; yields its address."""
    config = os.path.join(folder, "echod.conf")
    with open(config, "w", encoding="utf-8") as file:
        file.write(render_settings({
            "log": {"target": "stderr", "connections": "all", "max-per-second": 0},
            "control": {"path": folder + "/control"}, "metrics": {"file": metrics}}))
    os.chmod(folder, 0o777)
    address = f"unix:{folder}/socket"
    with open(path, "ab") as log:
        echod = subprocess.Popen([program("echod"), "-c", config, "-l", address], stderr=log,
                                 env=Echod.environment())
    try:
        wait_accepts(address)
        yield address
        echod.terminate()
        assert echod.wait(DEADLINE_S) == 0
    finally:
        echod.kill()
        echod.wait()


@case("the echo goes on, every line is there whole or counted, and it recovers by itself")
def test_log():
    with small_disk() as (folder, disk):
        path = os.path.join(disk, "log")

        def lines():
            with open(path, encoding="ascii") as file:
                return file.read().splitlines()

        with logging_to(path, folder, os.path.join(disk, "echod.prom")) as address:
            wait_until(lambda: any("closed" in line or "listening" in line for line in lines()),
                       "there is a log")
            filler = fill(disk)
            for number in range(TOTAL):
                data = b"%d" % number
                assert exchange(connect_to(address), data) == data
            assert not any("lost lines" in line for line in lines())
            os.unlink(filler)
            assert exchange(connect_to(address), b"x" * 77) == b"x" * 77

            def accounted():
                found = lines()
                events = sum(bool(re.search(r" (opened|closed) peer=", line)) for line in found)
                lost = sum(int(match[1]) for line in found
                           if (match := re.search(r" lost lines=(\d+)$", line)))
                return lost > 0 and events + lost >= 2 * TOTAL + 2
            wait_until(accounted, "every line has come or is counted as lost")
            wait_until(lambda: any("bytes-in=77 " in line for line in lines()), "the last line")
        torn = [line for line in lines() if not line.startswith("echod: ")]
        assert len(torn) <= 1, torn


@case("metrics on a full disk: the old file stays whole, it is said, a new one comes later")
def test_metrics():
    with small_disk() as (folder, disk):
        path = os.path.join(disk, "echod.prom")
        log = os.path.join(folder, "log")
        with logging_to(log, folder, path) as address:
            wait_until(lambda: os.path.exists(path), "the file is there")
            filler = fill(disk)
            before = os.stat(path).st_mtime_ns

            def said():
                with open(log, encoding="ascii") as file:
                    return "No space left on device" in file.read()
            assert exchange(connect_to(address), b"full") == b"full"
            wait_until(said, "the log says it")
            with open(path, encoding="ascii") as file:
                assert file.read().endswith("# EOF\n")
            assert os.stat(path).st_mtime_ns == before
            assert sorted(os.listdir(disk)) == ["echod.prom", "filler"], "a piece was left"
            os.unlink(filler)
            wait_until(lambda: os.stat(path).st_mtime_ns != before, "a new file comes")


main()
