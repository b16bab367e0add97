# SPDX-License-Identifier: MIT
"""echoctl ping and what it says, for the scripts that test it."""
import contextlib
import subprocess

from harness import program, run_echoctl
from harness_peers import events

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
