# SPDX-License-Identifier: MIT
"""What the benchmark takes from the machine: CPU time of a group of processes, memory, limits."""
import contextlib
import ctypes
import os
import platform
import re
import resource
import signal
import time

CGROUP_ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
PR_SET_CHILD_SUBREAPER = 36
MEMORY_PARTS = ("Slab", "KernelStack", "PageTables", "AnonPages", "Shmem")


def become_subreaper():
    """Orphans of the servers become our children, so that none is left behind."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def parents():
    """{pid: parent} of every process."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    found[int(name)] = int(file.read().rpartition(")")[2].split()[1])
    return found


def descendants(pid):
    """Children of a process, their children and so on."""
    table = parents()
    found, next_generation = [], [pid]
    while next_generation:
        next_generation = [child for child, parent in table.items() if parent in next_generation]
        found += next_generation
    return found


class Group:
    """The processes of one server: a cgroup v2 where one can be made, else the process tree.

    The cgroup counts the time of each process up to its last instruction. The tree is second
    best: it knows of a dead process only what its parent waited for.
    """

    def __init__(self, name):
        self.root_pid = None
        self.folder = None
        for root in CGROUP_ROOTS:
            folder = os.path.join(root, f"echod-bench-{os.getpid()}-{name}")
            if os.path.exists(os.path.join(root, "cgroup.subtree_control")):
                with contextlib.suppress(OSError):
                    os.mkdir(folder)
                    self.folder = folder
                    break

    @property
    def method(self):
        """How CPU time is counted, for the report."""
        return "cgroup v2 cpu.stat" if self.folder else "/proc/PID/stat with waited-for children"

    def enter(self):
        """To be called in the child before it executes the server."""
        if self.folder:
            with open(os.path.join(self.folder, "cgroup.procs"), "w", encoding="ascii") as file:
                file.write(str(os.getpid()))

    def cpu_s(self):
        """Seconds of CPU time that the group has used since it exists."""
        if self.folder:
            with open(os.path.join(self.folder, "cpu.stat"), encoding="ascii") as file:
                return int(re.search(r"usage_usec (\d+)", file.read())[1]) / 1e6
        ticks = 0
        for pid in [self.root_pid, *descendants(self.root_pid)]:
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
                ticks += sum(int(field) for field in fields[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def kill(self):
        """Ends every process of the group and removes it."""
        for pid in descendants(self.root_pid) if self.root_pid else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not self.folder:
            return
        with contextlib.suppress(OSError):
            with open(os.path.join(self.folder, "cgroup.kill"), "w", encoding="ascii") as file:
                file.write("1")
        end = time.monotonic() + 30
        while time.monotonic() < end:
            reap_orphans()
            with contextlib.suppress(OSError):
                os.rmdir(self.folder)
                return
            time.sleep(0.02)


class Watch:
    """How much CPU time others took meanwhile: what makes a measurement worthless."""

    def __init__(self, group):
        self.group = group
        self.start = self._now()

    def _now(self):
        own = sum(sum(resource.getrusage(who)[:2])
                  for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        with open("/proc/uptime", encoding="ascii") as file:
            idle_s = float(file.read().split()[1])
        return time.monotonic(), idle_s, own + self.group.cpu_s()

    def foreign_share(self):
        """0: we were alone; 1: others had all processors."""
        elapsed_s, idle_s, own_s = (now - then for now, then in zip(self._now(), self.start))
        all_s = elapsed_s * os.cpu_count()
        return max(0.0, (all_s - idle_s - own_s) / all_s)


def reap_orphans():
    """Waits for whatever became our child and has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def memory_kb():
    """MemAvailable and its largest parts, in KB."""
    with open("/proc/meminfo", encoding="ascii") as file:
        values = {name: int(value) for name, value
                  in re.findall(r"^(\w+): +(\d+)", file.read(), re.MULTILINE)}
    return {name: values[name] for name in ("MemAvailable", *MEMORY_PARTS)}


def settled_memory_kb(patience_s=4.0, tolerance_kb=512):
    """memory_kb() once two readings half a second apart agree, or when patience ends."""
    end = time.monotonic() + patience_s
    before = memory_kb()
    while True:
        time.sleep(0.5)
        now = memory_kb()
        if abs(now["MemAvailable"] - before["MemAvailable"]) < tolerance_kb \
                or time.monotonic() > end:
            return now
        before = now


def wait_time_wait(below=8000, patience_s=65):
    """Sockets in TIME_WAIT of an earlier run hold memory that they would give back meanwhile."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        with open("/proc/net/sockstat", encoding="ascii") as file:
            if int(re.search(r" tw (\d+)", file.read())[1]) < below:
                return
        time.sleep(1)


@contextlib.contextmanager
def room_for(processes):
    """Raises what stands in the way of so many processes and sockets; restores it afterwards."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    changed = {}
    try:
        with contextlib.suppress(ValueError, OSError):
            wanted = max(files[1], processes + 4096)
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        for path in ("/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"):
            with open(path, encoding="ascii") as file:
                value = int(file.read())
            if value < processes + 4096:
                with contextlib.suppress(OSError):
                    with open(path, "w", encoding="ascii") as file:
                        file.write(str(processes + 4096))
                    changed[path] = value
        yield
    finally:
        for path, value in changed.items():
            with open(path, "w", encoding="ascii") as file:
                file.write(str(value))
        resource.setrlimit(resource.RLIMIT_NOFILE, files)


def describe():
    """What the figures depend on."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"^model name\s*: (.*)", file.read(), re.MULTILINE)
    return {"kernel": platform.release(), "architecture": platform.machine(),
            "cpus": len(os.sched_getaffinity(0)), "model": model[1] if model else "unknown",
            "memory_kb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024,
            "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
            "load_before": os.getloadavg()[0]}
