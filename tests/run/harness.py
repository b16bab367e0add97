# SPDX-License-Identifier: MIT
"""What the black-box tests share: TAP output, echod as a process, clients, /proc.

A test script is a list of cases and a call of main():

    #!/usr/bin/python3
    # SPDX-License-Identifier: MIT
    '''One sentence that says what this script tests.'''
    from harness import Echod, case, exchange, main

    @case("a line comes back")
    def test_line():
        with Echod() as echod:
            assert exchange(echod.connect(), b"hello\\n") == b"hello\\n"

    main()

Wait for events with wait_until(), Echod.wait_log() or a socket's timeout, never by sleeping a
fixed time. What a case starts it ends; on failure the logs of its daemons are printed.
"""
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

BUILDDIR = os.environ.get("ABS_BUILDDIR") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "../../build"))
SRCDIR = os.environ.get("ABS_SRCDIR") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "../.."))
MUST_RUN = os.environ.get("ECHOD_MUST_RUN", "0") == "1"
SEED = int(os.environ.get("ECHOD_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
RANDOM = random.Random(SEED)

DEADLINE_S = 30         # for one event
CASE_DEADLINE_S = 180   # for one case
SANITIZER_REPORT = re.compile(r"(Address|Leak|UndefinedBehavior)Sanitizer|runtime error:")


class Skip(Exception):
    """Raised by a case that needs what this machine lacks."""


# ---------------------------------------------------------------- cases and TAP

_cases = []
_daemons = []   # of the running case: their logs are shown when it fails


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
    _daemons.clear()
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
        for daemon in _daemons:
            note(f"---- log of {daemon.name}")
            note("\n".join(daemon.log()))
    else:
        print(f"ok {number} - {description}", flush=True)
        return True
    finally:
        signal.alarm(0)
        for daemon in _daemons:
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


# ---------------------------------------------------------------- waiting, tools, folders

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


# ---------------------------------------------------------------- clients

def send_and_close(sock, data):
    """Sends all of data, then half-closes."""
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def read_to_end(sock, chunk=1 << 16):
    """Everything up to the peer's FIN."""
    parts = []
    while part := sock.recv(chunk):
        parts.append(part)
    return b"".join(parts)


def read_exactly(sock, count):
    """count bytes, or fewer when the peer's FIN comes first."""
    parts = []
    while count > 0 and (part := sock.recv(min(count, 1 << 16))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def exchange(sock, data):
    """Sends data while reading what comes back, half-closes, reads to the end, closes."""
    with sock:
        sender = threading.Thread(target=send_and_close, args=(sock, data), daemon=True)
        sender.start()
        echoed = read_to_end(sock)
        sender.join(DEADLINE_S)
        assert not sender.is_alive(), "the sender is stuck"
        return echoed


def run_echoctl(*arguments, stdin=b"", deadline_s=DEADLINE_S, env=None):
    """Runs echoctl to its end; the result has returncode, stdout and stderr (bytes)."""
    return subprocess.run([program("echoctl"), *arguments], input=stdin, capture_output=True,
                          timeout=deadline_s, env=env, check=False)


def connect_to(address, deadline_s=DEADLINE_S):
    """A connection to "host:port", "[v6]:port" or "unix:/path"."""
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(deadline_s)
        sock.connect(address[len("unix:"):])
        return sock
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=deadline_s)


# ---------------------------------------------------------------- /proc

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
    """The children of a process now, zombies left out unless asked for."""
    found = []
    for name in os.listdir("/proc"):
        stat = process_stat(name) if name.isdigit() else None
        if stat and stat[2] == pid and (zombies or stat[1] != "Z"):
            found.append(int(name))
    return sorted(found)


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


def descriptors(pid):
    """{number: link text} of the descriptors that a process holds."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
    return found


# ---------------------------------------------------------------- echod

def render_settings(settings):
    """A dictionary as text of echod.conf: {"limits": {"connections": 4}}."""
    def value_text(value):
        if isinstance(value, (list, tuple)):
            return "{" + ", ".join(f"'{item}'" for item in value) + "}"
        return str(value) if isinstance(value, int) else f"'{value}'"

    lines = []
    for key, value in settings.items():
        if isinstance(value, dict):
            lines.append(key + " {")
            lines += [f"\t{name} = {value_text(inner)}" for name, inner in value.items()]
            lines.append("}")
        else:
            lines.append(f"{key} = {value_text(value)}")
    return "\n".join(lines) + "\n"


class Process:
    """A program with its standard error collected line by line."""

    def __init__(self, name, command, env=None, **options):
        self.name = name
        self._lines = []
        self._arrived = threading.Condition()
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.DEVNULL)
        self.popen = subprocess.Popen(command, stderr=subprocess.PIPE, env=env, **options)
        self.pid = self.popen.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        _daemons.append(self)

    def _read(self):
        for line in self.popen.stderr:
            with self._arrived:
                self._lines.append(line.decode(errors="replace").rstrip("\n"))
                self._arrived.notify_all()

    def log(self):
        """The lines so far."""
        with self._arrived:
            return list(self._lines)

    def log_mark(self):
        """A place in the log, for wait_log(since=...)."""
        return len(self.log())

    def wait_log(self, pattern, count=1, since=0, deadline_s=DEADLINE_S):
        """The matches of the first count lines that hold the regular expression."""
        expression = re.compile(pattern)

        def matches():
            found = (expression.search(line) for line in self._lines[since:])
            return [match for match in found if match]

        with self._arrived:
            if not self._arrived.wait_for(lambda: len(matches()) >= count
                                          or not self._reader.is_alive(), deadline_s):
                raise TimeoutError(f"{self.name}: no line like {pattern!r} (x{count}) in the log")
            if len(matches()) < count:
                raise AssertionError(f"{self.name} ended without a line like {pattern!r}")
            return matches()[:count]

    def signal(self, number):
        """Sends a signal to the process itself."""
        self.popen.send_signal(number)

    def wait(self, deadline_s=DEADLINE_S):
        """The exit status, negative for a signal; all of its log has been read."""
        status = self.popen.wait(deadline_s)
        self._reader.join(1)    # a child that outlives it may hold the pipe open
        return status

    def kill(self):
        """Ends it and its descendants, whatever state they are in."""
        for pid in [*descendant_pids(self.pid), self.pid] if self.popen.poll() is None else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.popen.wait()


class Echod(Process):
    """echod from the build tree.

    settings: dictionary for the configuration file (it logs to standard error unless that says
    otherwise); text: the whole file instead; listen: for -l, port 0 by default; options: further
    arguments. As a context manager it is stopped at the end, which must be clean.
    """

    def __init__(self, settings=None, text=None, listen=("127.0.0.1:0",), options=(),
                 env=None, wait=True, command=(), **popen_options):
        self._folder = tempfile.TemporaryDirectory(prefix="echod-test-")
        self.folder = self._folder.name
        os.chmod(self.folder, 0o755)
        self.config = os.path.join(self.folder, "echod.conf")
        self.write_config(settings, text)
        arguments = [*command, program("echod"), "-c", self.config]
        for address in listen:
            arguments += ["-l", address]
        super().__init__("echod", [*arguments, *options], env=self.environment(env),
                         cwd=self.folder, **popen_options)
        self.addresses = []
        if wait:
            self.wait_listening(max(1, len(listen)))

    @staticmethod
    def environment(extra=None):
        """Without what systemd may have given to us."""
        env = {name: value for name, value in os.environ.items()
               if not re.match(r"NOTIFY_|WATCHDOG_|LISTEN_|JOURNAL_STREAM|INVOCATION_ID", name)}
        env["ECHOD_LISTENER"] = program("echod-listener")
        env.update(extra or {})
        return env

    def write_config(self, settings=None, text=None):
        """Replaces the configuration file."""
        if text is None:
            merged = {"control": {"path": os.path.join(self.folder, "control")}}
            merged.update(settings or {})
            merged["log"] = {"target": "stderr", **merged.get("log", {})}
            text = render_settings(merged)
        with open(self.config + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(self.config + ".new", self.config)

    def wait_listening(self, count=1, since=0):
        """Reads the addresses from the log."""
        lines = self.wait_log(r"listening on (\S+)", count, since)
        self.addresses = [match[1] for match in lines]
        return self.addresses

    @property
    def address(self):
        """The first address that it listens on, as echoctl takes it."""
        return self.addresses[0]

    @property
    def port(self):
        """The port of the first address."""
        return int(self.address.rpartition(":")[2])

    def connect(self, index=0):
        """A new connection to the index-th address."""
        return connect_to(self.addresses[index])

    def reload(self, settings=None, text=None):
        """New configuration, HUP; returns a log mark from before."""
        mark = self.log_mark()
        self.write_config(settings, text)
        self.signal(signal.SIGHUP)
        return mark

    def listener_pids(self):
        """The listeners, oldest first."""
        return [pid for pid in child_pids(self.pid)
                if "echod-listener" in self._program_of(pid)
                and not self._is_orphaned_worker(pid)]

    @staticmethod
    def _program_of(pid):
        with contextlib.suppress(OSError):
            return os.readlink(f"/proc/{pid}/exe")
        return ""

    @staticmethod
    def _is_orphaned_worker(pid):
        """Workers share the listener's program but hold their connection only."""
        with contextlib.suppress(OSError):
            return len(descriptors(pid)) <= 2
        return False

    @property
    def listener_pid(self):
        """The one listener (of the newest generation)."""
        return wait_until(self.listener_pids, "a listener runs")[-1]

    def worker_pids(self):
        """All live workers: of every listener, and those that a dead listener left behind."""
        listeners = self.listener_pids()
        orphans = [pid for pid in child_pids(self.pid) if pid not in listeners]
        return sorted(orphans + [pid for parent in listeners for pid in child_pids(parent)])

    def wait_workers(self, count):
        """Waits until there are exactly count workers; returns them."""
        wait_until(lambda: len(self.worker_pids()) == count, f"{count} workers are live")
        return self.worker_pids()

    def zombies(self):
        """Dead processes that nobody has waited for."""
        return [pid for pid in descendant_pids(self.pid) if is_zombie(pid)]

    def stop(self, deadline_s=DEADLINE_S):
        """TERM; the exit status. Fails when a process of it survives or a sanitizer spoke."""
        family = {pid: process_stat(pid) for pid in descendant_pids(self.pid)}
        if self.popen.poll() is None:
            self.signal(signal.SIGTERM)
        status = self.wait(deadline_s)

        def survivors():
            now = {pid: process_stat(pid) for pid in family}
            return [pid for pid, stat in now.items()
                    if stat and family[pid] and stat[3] == family[pid][3]]

        wait_until(lambda: not survivors(), "all of its processes are gone")
        reports = [line for line in self.log() if SANITIZER_REPORT.search(line)]
        assert not reports, reports
        return status

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            status = self.stop()
            assert status == 0, f"echod ended with status {status}"
        else:
            self.kill()
        self._folder.cleanup()
