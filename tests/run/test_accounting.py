#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Nothing that dies takes its accounts with it: accepted = closed + refused + active, always."""
import contextlib
import os
import re
import signal
import threading
import time

from harness import (RANDOM, Echod, case, exchange, main, random_bytes, read_exactly,
                     run_echoctl, wait_until)


def totals(echod):
    """The numbers of the line that USR1 asks for."""
    mark = echod.log_mark()
    echod.signal(signal.SIGUSR1)
    line = echod.wait_log(r"totals (.*)", since=mark)[0][1]
    return {name: int(value) for name, value in re.findall(r"([\w-]+)=(\d+)", line)}


def settled(echod):
    """The totals once no connection is live; they have to add up."""
    wait_until(lambda: totals(echod)["active"] == 0, "no connection is live")
    found = totals(echod)
    assert found["accepted"] == found["closed"] + found["refused"], found
    return found


class Crowd:
    """Clients that connect, echo and close until they are told to stop."""

    def __init__(self, echod, clients):
        self.echod = echod
        self.wrong = []
        self.served = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        data = random_bytes(1000)
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                echoed = exchange(self.echod.connect(), data)
                self.served += 1
                # Who was killed with its worker or listener got less, but nothing wrong.
                if not data.startswith(echoed):
                    self.wrong.append(echoed)

    def wait_served(self, count):
        """Waits until so many more were served."""
        goal = self.served + count
        wait_until(lambda: self.served >= goal, f"{count} more connections are served", 300)

    def stop(self):
        """Ends the clients; returns how many connections they had."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self.wrong, f"{len(self.wrong)} echoes were wrong"
        return self.served


SETTINGS = {"log": {"max-per-second": 0}}


@case("listeners killed under load")
def test_listeners_killed():
    with Echod(SETTINGS) as echod:
        crowd = Crowd(echod, 8)
        for _ in range(6):
            crowd.wait_served(RANDOM.randrange(1, 30))
            os.kill(old := echod.listener_pid, signal.SIGKILL)
            # one that dies before it is ready is no restart
            wait_until(lambda gone=old: gone not in echod.listener_pids(), "it is gone")
            assert exchange(echod.connect(), b"another") == b"another"
        crowd.wait_served(20)
        served = crowd.stop()
        found = settled(echod)
        assert found["closed"] >= served, (found, served)
        assert found["restarts"] == 6, found
        wait_until(lambda: not echod.zombies(), "all are reaped")


@case("workers and listeners killed, settings reloaded, under load")
def test_all_at_once():
    with Echod(SETTINGS) as echod:
        crowd = Crowd(echod, 8)
        for _ in range(8):
            crowd.wait_served(RANDOM.randrange(1, 20))
            echod.signal(signal.SIGHUP)
            for pid in RANDOM.sample(workers := echod.worker_pids(), min(2, len(workers))):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if RANDOM.random() < 0.5:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(echod.listener_pid, signal.SIGKILL)
        crowd.wait_served(20)
        crowd.stop()
        settled(echod)
        wait_until(lambda: not echod.zombies(), "all are reaped")


@case("a line for each connection, or it is counted among those that were left out")
def test_lines():
    most, started = 20, time.monotonic()
    with Echod({"log": {"max-per-second": most}}) as echod:
        crowd = Crowd(echod, 8)
        crowd.wait_served(300)
        crowd.stop()
        closed = settled(echod)["closed"]
    seconds = time.monotonic() - started
    lines = sum(line.startswith("echod: closed ") for line in echod.log())
    left_out = sum(int(match[1]) for line in echod.log()
                   if (match := re.search(r"suppressed .*lines=(\d+)", line)))
    assert lines + left_out == closed, (lines, left_out, closed)
    assert lines <= most * (seconds + 2), (lines, seconds)


@case("a supervisor that sleeps stops no echo; events beyond the ring are said, not lost count of")
def test_ring_full():
    with Echod({"limits": {"connections-per-source": 0}}) as echod:
        os.kill(echod.pid, signal.SIGSTOP)
        crowd = Crowd(echod, 8)
        try:
            crowd.wait_served(4200)
        finally:
            os.kill(echod.pid, signal.SIGCONT)
        served = crowd.stop()
        echod.wait_log(r"\d+ events found no room in the ring")
        closed = settled(echod)["closed"]
        assert closed >= served
        metrics = run_echoctl("--control", echod.folder + "/control", "metrics").stdout.decode()
        durations = re.search(r"^echod_connection_duration_seconds_count (\d+)$", metrics,
                              re.MULTILINE)[1]
        assert int(durations) == closed, (durations, closed)


def hold(echod, stack):
    """A connection that has echoed and stays until the stack ends; None when it was refused."""
    sock = stack.enter_context(echod.connect())
    with contextlib.suppress(ConnectionError):
        sock.sendall(b"held")
        return sock if read_exactly(sock, 4) == b"held" else None
    return None


@case("the limit counts the connections of older generations and of dead listeners")
def test_limit_over_generations():
    # three: held by the first listener, by one that was killed, and by the one that serves
    settings = {"limits": {"connections": 3, "at-limit": "refuse"}}
    with Echod(settings) as echod, contextlib.ExitStack() as stack:
        assert hold(echod, stack)
        mark = echod.reload(settings)
        echod.wait_log("new settings are in force", since=mark)
        second = hold(echod, stack)
        before = echod.listener_pids()
        os.kill(echod.listener_pid, signal.SIGKILL)
        wait_until(lambda: set(echod.listener_pids()) - set(before), "a new listener")
        assert hold(echod, stack)
        mark = echod.log_mark()
        assert not hold(echod, stack)
        echod.wait_log("refused .*reason=connections", since=mark)
        second.close()
        wait_until(lambda: totals(echod)["active"] == 2, "the orphan has ended")
        wait_until(lambda: hold(echod, stack), "there is room again")
        assert not hold(echod, stack)


@case("the limit of one source counts within a generation")
def test_source_by_generation():
    settings = {"limits": {"connections-per-source": 1}}
    with Echod(settings) as echod, contextlib.ExitStack() as stack:
        assert hold(echod, stack)
        assert not hold(echod, stack)
        mark = echod.reload(settings)
        echod.wait_log("new settings are in force", since=mark)
        assert hold(echod, stack)
        assert not hold(echod, stack)


main()
