# SPDX-License-Identifier: MIT
"""echoctl ping and what it says, for the scripts that test it and load."""
import contextlib
import re
import subprocess

from harness import program, run_echoctl
from harness_peers import Peer, by_message, events, flip

COUNTS = ("sent", "ok", "lost", "corrupt", "late", "unsent", "waiting")


def ping(*arguments):
    """
    Runs it with --json, patient unless told otherwise. Returns the result, the probes and the
    final summary.
    """
    result = run_echoctl("--json", "ping", "-W", "20s", *arguments)
    summary = events(result, "ping_summary")[-1]
    assert summary["final"]
    return result, events(result, "ping_probe"), summary


@contextlib.contextmanager
def running(*arguments):
    """Runs it until the case is over, however that ends."""
    with subprocess.Popen([program("echoctl"), *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def counts(summary):
    """What is not zero."""
    return {key: summary[key] for key in COUNTS if summary[key]}


def check_requirements(run, lost_percent, line):
    """
    Bounds of --require decide, and what was measured is said. run: the command, with four messages,
    of which one that comes back corrupt costs lost_percent. line: what precedes "required".
    """
    def lose_one(number, data):
        return flip(data, 40) if number == 2 else data

    for answer, bounds, wanted in (
            (lambda _, data: data, "p50<20s,p99.9<20s,max<20s,loss<0.1%", [True] * 4),
            (lambda _, data: data, "p50<1us", [False]),
            (lambda _, data: data, "loss<0%", [False]),
            (lambda _, data: None, "p50<20s,loss<50%", [False, False]),
            (lose_one, f"loss<{lost_percent}%,p50<20s", [False, True]),
            (lose_one, f"loss<{lost_percent}.1%", [True]),
            (lambda _, data: data, "mean<20s,errors<1", [True, True]),
            (lambda _, data: None, "mean<20s,errors<1", [False, False]),
            (lose_one, f"errors<{lost_percent // 25}", [False]),
            (lose_one, f"errors<{lost_percent // 25 + 1}", [True])):
        with Peer(by_message(64, answer)) as peer:
            result = run_echoctl("--json", *run, "--require", bounds, peer.address)
            judged = events(result, "requirement")
            assert [one["require"] for one in judged] == bounds.split(","), judged
            assert [one["holds"] for one in judged] == wanted, (bounds, judged)
            assert result.returncode == (0 if all(wanted) else 1), (bounds, result)
    with Peer(by_message(64, lose_one)) as peer:
        result = run_echoctl(*run, "--require", "p50<20s", peer.address)
        assert result.returncode == 1, "a failed message fails, unless loss or errors is named"
        assert re.search(line + rb"required p50<20s: holds, measured [\d.]+ [mun]?s\n",
                         result.stdout), result
    for wrong in ("p99", "p99>1s", "rate<1", "errors<1%", "mean<1%", "p101<1s", "q<1s", "loss<1",
                  "p99<1x", "p99<1s,", "errors<0x10", "loss<1e1%", ""):
        result = run_echoctl(*run, "--require", wrong, "127.0.0.1")
        assert result.returncode == 3 and b"--require" in result.stderr, (wrong, result)
