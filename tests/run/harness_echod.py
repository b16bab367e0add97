# SPDX-License-Identifier: MIT
"""Programs with their log, and echod as one of them."""
import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading

from harness_clients import connect_to
from harness_proc import child_pids, descendant_pids, is_zombie, process_stat
from harness_tap import DEADLINE_S, MEMCHECK, processes_of_case, program, wait_until

SANITIZER_REPORT = re.compile(r"(Address|Leak|UndefinedBehavior)Sanitizer|runtime error:")


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
        processes_of_case.append(self)

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
        self._reader.join(10)   # a child that outlives it may hold the pipe open
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
        arguments = [*command, *MEMCHECK, program("echod"), "-c", self.config]
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
        if not MEMCHECK:    # which has one of its own
            env["ECHOD_LISTENER"] = program("echod-listener")
        env.update(extra or {})
        return env

    def write_config(self, settings=None, text=None):
        """Replaces the configuration file."""
        if text is None:
            merged = {"control": {"path": os.path.join(self.folder, "control")}}
            if MEMCHECK:    # which makes system calls of its own
                merged["sandbox"] = "off"
            merged.update(settings or {})
            merged["log"] = {"target": "stderr", **merged.get("log", {})}
            text = render_settings(merged)
        with open(self.config + ".new", "w", encoding="utf-8",
                  errors="surrogateescape") as file:
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
        return self._family()[0]

    def _family(self):
        """The listeners and the workers of dead ones; who has not executed yet is neither."""
        listeners, orphans = [], []
        for pid in child_pids(self.pid):
            with contextlib.suppress(ProcessLookupError):
                if "echod-listener" in self._program_of(pid):
                    # A worker stays in its listener's session. A new one is in ours at first.
                    is_listener = os.getsid(pid) in (pid, os.getsid(self.pid))
                    (listeners if is_listener else orphans).append(pid)
        return listeners, orphans

    @staticmethod
    def _program_of(pid):
        with contextlib.suppress(OSError):
            if not MEMCHECK:
                return os.readlink(f"/proc/{pid}/exe")
            with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
                return file.read()
        return ""

    @property
    def listener_pid(self):
        """The one listener (of the newest generation)."""
        return wait_until(self.listener_pids, "a listener runs")[-1]

    def worker_pids(self):
        """All live workers: of every listener, and those that a dead listener left behind."""
        listeners, orphans = self._family()
        return sorted(orphans + [pid for parent in listeners for pid in child_pids(parent)])

    def wait_workers(self, count):
        """Waits until there are exactly count workers; returns them."""
        wait_until(lambda: len(self.worker_pids()) == count, f"{count} workers are live")
        return self.worker_pids()

    def closed_connections(self, count, since=0):
        """The fields of the first count lines "closed ..."."""
        lines = self.wait_log(r"\bclosed (peer=.*)", count, since)
        return [dict(field.split("=", 1) for field in match[1].split()) for match in lines]

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
