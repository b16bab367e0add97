# SPDX-License-Identifier: MIT
"""Cases, their results as TAP, waiting, tools, folders."""
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback

BUILDDIR = os.environ.get("ABS_BUILDDIR") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "../../build"))
SRCDIR = os.environ.get("ABS_SRCDIR") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "../.."))
MUST_RUN = os.environ.get("ECHOD_MUST_RUN", "0") == "1"
MEMCHECK = os.environ.get("ECHOD_MEMCHECK", "").split()     # valgrind with its options, or nothing
SEED = int(os.environ.get("ECHOD_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
RANDOM = random.Random(SEED)

DEADLINE_S = 30         # for one event
CASE_DEADLINE_S = 600   # for one case, on a machine that does other things too
LOG_LINES = 1000        # of a daemon, shown when a case fails


class Skip(Exception):
    """Raised by a case that needs what this machine lacks."""


_cases = []
processes_of_case = []   # of the running case: their logs are shown when it fails


def case(description):
    """Registers a function without arguments as one test."""
    def register(function):
        _cases.append((description, function))
        return function
    return register


def note(text):
    """A diagnostic line, shown in the test's log."""
    for line in str(text).splitlines():
        print("# " + line, flush=True)


def _case_is_late(_signal, _frame):
    raise TimeoutError(f"the case took longer than {CASE_DEADLINE_S} s")


def _run_case(number, description, function):
    processes_of_case.clear()
    signal.signal(signal.SIGALRM, _case_is_late)
    signal.alarm(CASE_DEADLINE_S)
    try:
        function()
    except Skip as reason:
        if not MUST_RUN:
            print(f"ok {number} - {description} # SKIP {reason}", flush=True)
            return True
        note(f"skipped, but ECHOD_MUST_RUN is set: {reason}")
    except Exception:   # every failure of a case is a result, not an end of the run
        note(traceback.format_exc())
        for daemon in processes_of_case:
            note(f"---- log of {daemon.name}")
            note("\n".join(daemon.log()[-LOG_LINES:]))
    else:
        print(f"ok {number} - {description}", flush=True)
        return True
    finally:
        signal.alarm(0)
        for daemon in processes_of_case:
            daemon.kill()
    print(f"not ok {number} - {description}", flush=True)
    return False


def main():
    """Runs the cases (those whose description holds argument 1, if given) and exits."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [entry for entry in _cases if wanted in entry[0]]
    print(f"1..{len(chosen)}", flush=True)
    note(f"seed {SEED} (ECHOD_TEST_SEED={SEED} repeats it)")
    passed = [_run_case(number, *entry) for number, entry in enumerate(chosen, 1)]
    sys.exit(0 if all(passed) else 1)


def wait_until(condition, what, deadline_s=DEADLINE_S):
    """Returns condition()'s first true value; fails after the deadline, saying what was awaited."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"after {deadline_s} s still not: {what}")
        time.sleep(0.01)


def program(name):
    """The path of one of our built programs; its absence is a failure."""
    path = os.path.join(BUILDDIR, name)
    if not os.access(path, os.X_OK):
        raise FileNotFoundError(f"{path} is not built")
    return path


def is_defined(name):
    """INSTRUMENTED: the build has sanitizers or measures coverage; COVERAGE: the latter."""
    with open(os.path.join(BUILDDIR, "config.h"), encoding="utf-8") as file:
        return f"#define {name} 1" in file.read()


def foreign(*names):
    """The path of the first of these programs that is installed; else the case is skipped."""
    for name in names:
        path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if path:
            return path
    raise Skip(f"{names[0]} is not installed")


@contextlib.contextmanager
def temporary_directory():
    """A folder that the service user may enter."""
    with tempfile.TemporaryDirectory(prefix="echod-test-") as path:
        os.chmod(path, 0o755)
        yield path


def random_bytes(count):
    """Bytes that depend on the seed only."""
    return RANDOM.randbytes(count)
