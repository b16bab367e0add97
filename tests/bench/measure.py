# SPDX-License-Identifier: MIT
"""The measurements: each drives the load generator against one running server."""
import json
import select
import subprocess
import time

from machine import settled_memory_kb

SOURCES = 64        # source addresses, so that ports in TIME_WAIT stay few on each
TRAILING_S = 0.05   # workers that still exit when their last client has gone


class LoadError(Exception):
    """The load generator itself failed."""


def run_load(place, mode, address, *options, clients=1, seconds=1, count=None):
    """One bounded run; the generator's JSON."""
    command = [place.program("bench-load"), mode, "-c", str(clients), "-s", str(seconds),
               "-S", str(SOURCES), *(["-n", str(count)] if count else []), *options, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60,
                          check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        raise LoadError(f"{mode}: {done.stderr.strip() or done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def with_cpu(server, run):
    """The result of run() and the CPU seconds that the server used meanwhile."""
    before = server.group.cpu_s()
    result = run()
    time.sleep(TRAILING_S)
    return result, server.group.cpu_s() - before


def rate(place, server, clients, seconds):
    """Connections a second, latency of the first echo, server CPU for each connection."""
    result, cpu_s = with_cpu(server, lambda: run_load(
        place, "rate", server.address, clients=clients, seconds=seconds))
    first = result["first_echo_us"] or {"p50": None, "p99": None}
    return {f"rate_{clients}": result["per_second"],
            f"first_echo_p50_us_{clients}": first["p50"],
            f"first_echo_p99_us_{clients}": first["p99"],
            f"cpu_us_per_connection_{clients}":
                cpu_s * 1e6 / result["completed"] if result["completed"] else None,
            f"failed_{clients}": result["failed"]}


def ping(place, server, seconds):
    """Round trips of 64 bytes on one connection."""
    result = run_load(place, "ping", server.address, seconds=seconds)
    rtt = result["rtt_us"] or {"p50": None, "p99": None}
    return {"ping_p50_us": rtt["p50"], "ping_p99_us": rtt["p99"],
            "failed_ping": result["failed"]}


def stream(place, server, seconds):
    """One connection as fast as it goes."""
    result, cpu_s = with_cpu(server, lambda: run_load(
        place, "stream", server.address, seconds=seconds))
    return {"stream_mb_s": result["mb_per_second"],
            "stream_cpu_s_per_gb":
                cpu_s * 1e9 / result["bytes"] if result["bytes"] else None,
            "failed_stream": result["failed"]}


class Held:
    """Connections that stay open; use it as a context manager, open() makes them."""

    def __init__(self, place, server, count, patience_s):
        self.count = count
        self.patience_s = patience_s
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            [place.program("bench-load"), "hold", "-c", str(count), "-s", str(patience_s),
             "-S", str(SOURCES), server.address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.result = None

    def _line(self):
        if not select.select([self.process.stdout], [], [], self.patience_s + 30)[0]:
            raise LoadError("hold: no answer")
        line = self.process.stdout.readline()
        if not line:
            raise LoadError("hold: the load generator ended early")
        return json.loads(line)

    def _go_on(self):
        self.process.stdin.write("go on\n")
        self.process.stdin.flush()

    def __enter__(self):
        self._line()
        return self

    def open(self):
        """Opens all of them, each with one verified echo; fails when one cannot be had."""
        self._go_on()
        held = self._line()["held"]
        if held != self.count:
            raise LoadError(f"only {held} of {self.count} connections could be held")

    def close(self):
        """Half-closes all and waits for every FIN."""
        self._go_on()
        self.result = self._line()

    def __exit__(self, *_):
        if self.result is None:
            self.process.kill()
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def memory(place, server, count, patience_s):
    """KB of the whole machine for each idle connection: MemAvailable before against after.

    So it counts both ends of each connection, the worker, its page tables and its kernel
    stack. The generator has allocated and touched its own memory before the first reading.
    """
    with Held(place, server, count, patience_s) as held:
        before = settled_memory_kb()
        held.open()
        after = settled_memory_kb()
        held.close()
    result = {"memory_kb": (before["MemAvailable"] - after["MemAvailable"]) / count}
    for part in before:
        if part != "MemAvailable":
            result[f"memory_{part}_kb"] = (after[part] - before[part]) / count
    result["failed_hold"] = held.result["failed"]
    return result


def live(place, server, count, seconds, patience_s):
    """The rate at 64 clients without and with so many live connections."""
    none = run_load(place, "rate", server.address, clients=64, seconds=seconds)
    with Held(place, server, count, patience_s) as held:
        held.open()
        many = run_load(place, "rate", server.address, clients=64, seconds=seconds)
        held.close()
    return {"live_rate_none": none["per_second"], "live_rate_many": many["per_second"],
            "live_first_echo_p99_us": (many["first_echo_us"] or {"p99": None})["p99"],
            "live_ratio": many["per_second"] / max(none["per_second"], 1),
            "failed_live": none["failed"] + many["failed"] + held.result["failed"]}
