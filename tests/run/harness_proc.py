# SPDX-License-Identifier: MIT
"""Looking at processes through /proc, and their limits."""
import contextlib
import os
import subprocess

from harness_tap import DEADLINE_S


def process_stat(pid):
    """(comm, state, parent, start time), or None when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    comm, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    return comm, fields[0], int(fields[1]), int(fields[19])


def child_pids(pid, zombies=False):
    """The children of a process now, oldest first (process ids wrap); zombies only if asked for."""
    found = []
    for name in os.listdir("/proc"):
        stat = process_stat(name) if name.isdigit() else None
        if stat and stat[2] == pid and (zombies or stat[1] != "Z"):
            found.append((stat[3], int(name)))
    return [child for _, child in sorted(found)]


def descendant_pids(pid):
    """Children, their children and so on."""
    found = []
    for child in child_pids(pid, zombies=True):
        found += [child, *descendant_pids(child)]
    return found


def is_zombie(pid):
    """True for a process that has ended and was not waited for."""
    stat = process_stat(pid)
    return bool(stat) and stat[1] == "Z"


def status_fields(pid):
    """{name: value} of /proc/PID/status, empty when the process is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    except (FileNotFoundError, ProcessLookupError):
        return {}


def descriptors(pid):
    """{number: link text} of the descriptors that a process holds."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
    return found


def limit_descriptors(pid, limit):
    """Of a running process: its own user may lower that."""
    uid, gid = (status_fields(pid)[name].split()[0] for name in ("Uid", "Gid"))
    become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
    subprocess.run([*(become if os.geteuid() == 0 else []), "prlimit", f"--pid={pid}",
                    f"--nofile={limit}:"], check=True, timeout=DEADLINE_S)
