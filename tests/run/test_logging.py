#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What echod logs, and where: standard error, a syslog daemon, the journal."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from harness import (DEADLINE_S, Echod, Skip, case, connect_to, exchange, foreign, main, program,
                     random_bytes, read_exactly, render_settings, run_echoctl, temporary_directory,
                     wait_accepts, wait_until)

# Runs a program that finds this folder's dev/ and run/ as /dev and /run, as the user it was.
PRIVATE_ROOT = """
set -e
folder=$1 user=$2 group=$3
shift 3
touch "$folder/dev/null"
mount --bind /dev/null "$folder/dev/null"
mount --rbind "$folder/dev" /dev
mount --bind "$folder/run" /run
[ "$user" = 0 ] || set -- unshare --user --map-user="$user" --map-group="$group" "$@"
[ -z "$ECHOD_TEST_STREAM" ] || export JOURNAL_STREAM="$(stat -L -c %d:%i /proc/self/fd/2)"
exec "$@"
"""


def private_root(folder):
    """The words before a command that is to run with folder's log sockets."""
    unshare = [foreign("unshare"), "--mount"]
    if os.geteuid() != 0:
        unshare += ["--user", "--map-root-user"]
    if subprocess.run([*unshare, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        raise Skip("namespaces cannot be made here (none can in a chroot)")
    return [*unshare, "sh", "-c", PRIVATE_ROOT, "sh", folder,
            str(os.geteuid()), str(os.getegid())]


class LogSocket:
    """A log daemon: what arrives at one datagram socket."""

    def __init__(self, path):
        self.path = path
        self.received = []
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.start()

    def start(self):
        """Binds the socket, as at the start of a log daemon."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o666)

    def stop(self):
        """What the end of a log daemon leaves: no socket."""
        self.socket.close()
        os.unlink(self.path)

    def lines(self):
        """All that has arrived so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.received.append(self.socket.recv(1 << 16).decode())
        return self.received

    def wait(self, pattern, since=0):
        """The match of the first line that holds the pattern."""
        def found():
            return next(filter(None, (re.search(pattern, line) for line in self.lines()[since:])),
                        None)
        return wait_until(found, f"a line like {pattern!r} is logged")


@contextlib.contextmanager
def logging_folder():
    """A folder with dev/log and run/systemd/journal/socket, each a LogSocket."""
    with temporary_directory() as folder:
        syslog = LogSocket(folder + "/dev/log")
        journal = LogSocket(folder + "/run/systemd/journal/socket")
        yield folder, syslog, journal
        syslog.socket.close()
        journal.socket.close()


def entry_fields(entry):
    """A journal entry as the native protocol has it: lines NAME=value."""
    assert entry.endswith("\n"), entry
    return dict(line.split("=", 1) for line in entry[:-1].split("\n"))


@case("the closing line holds every field, and each is true")
def test_closing_line():
    data = random_bytes(300000)
    with Echod() as echod:
        client = echod.connect()
        peer = "%s:%d" % client.getsockname()
        client.sendall(b"x")
        assert read_exactly(client, 1) == b"x"
        worker = echod.wait_workers(1)[0]
        assert exchange(client, data) == data
        line = echod.wait_log(r"closed .*")[0].string
        expected = (rf"echod: closed peer={peer} local={echod.address} worker={worker} "
                    r"bytes-in=300001 bytes-out=300001 duration=\d+\.\d{3}s cpu=\d+\.\d{3}s "
                    r"end=fin rtt=\d+\.\d{3}ms retransmits=\d+")
        assert re.fullmatch(expected, line), line


@case("a peer on a Unix socket is named by its process and user")
def test_unix_line():
    with temporary_directory() as folder:
        os.chmod(folder, 0o777)
        with Echod(listen=(f"unix:{folder}/echo",)) as echod:
            assert exchange(echod.connect(), b"hello") == b"hello"
            line = echod.wait_log(r"closed .*")[0].string
            expected = (rf"echod: closed peer=unix:pid={os.getpid()},uid={os.getuid()} "
                        rf"local=unix:{folder}/echo worker=\d+ bytes-in=5 bytes-out=5 "
                        r"duration=\d+\.\d{3}s cpu=\d+\.\d{3}s end=fin")
            assert re.fullmatch(expected, line), line


@case("the signal that ended a worker is named, a forbidden system call as what it is")
def test_signals():
    with Echod() as echod:
        for number, expected in (
                (signal.SIGKILL, "end=killed signal=KILL"),
                (signal.SIGABRT, "end=crashed signal=ABRT"),
                (signal.SIGSYS, 'end=crashed signal=SYS cause="forbidden system call"')):
            with echod.connect() as client:
                client.sendall(b"x")
                assert read_exactly(client, 1) == b"x"
                mark = echod.log_mark()
                os.kill(echod.wait_workers(1)[0], number)
                line = echod.wait_log(r"closed .*", since=mark)[0].string
                assert f" {expected} " in line, line
            echod.wait_workers(0)


@case("what max-per-second leaves out is counted, and the count is logged")
def test_rate_limit():
    total = 60
    with Echod({"log": {"max-per-second": 1}}) as echod:
        for _ in range(total):
            assert exchange(echod.connect(), b"x") == b"x"

        def accounted():
            closed = sum("closed peer=" in line for line in echod.log())
            left_out = [re.search(r"suppressed what=connections lines=(\d+) duration=\d+\.\d{3}s$",
                                  line) for line in echod.log()]
            left_out = [int(match[1]) for match in left_out if match]
            assert closed + sum(left_out) <= total
            return closed + sum(left_out) == total and left_out
        wait_until(accounted, "every connection is logged or counted")


@case("echod outlives the reader of its standard error")
def test_closed_stderr():
    with temporary_directory() as folder:
        os.chmod(folder, 0o777)
        config = os.path.join(folder, "echod.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(render_settings({"log": {"target": "stderr", "connections": "all"},
                                        "control": {"path": folder + "/control"}}))
        with subprocess.Popen([program("echod"), "-c", config, "-l", f"unix:{folder}/echo"],
                              stderr=subprocess.PIPE, env=Echod.environment()) as echod:
            try:
                wait_accepts(f"unix:{folder}/echo")
                echod.stderr.close()
                for _ in range(20):
                    assert exchange(connect_to(f"unix:{folder}/echo"), b"x") == b"x"
                echod.terminate()
                assert echod.wait(DEADLINE_S) == 0
            finally:
                echod.kill()


@case("why a start fails is told on standard error as well when the log is syslog")
def test_failed_start():
    with logging_folder() as (folder, syslog, _), socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        echod = Echod({"log": {"target": "syslog"}}, listen=[address], wait=False,
                      command=private_root(folder))
        assert echod.wait() == 1
        why = f"{address}: bind: Address already in use"
        syslog.wait(f"^<27>.*: {why}$")
        assert echod.log() == [f"echod: {why}"], echod.log()


@case("syslog: RFC 3164 lines; a restart of the log daemon and a reload are followed")
def test_syslog():
    with logging_folder() as (folder, syslog, journal):
        with Echod({"log": {"target": "syslog"}}, wait=False,
                   command=private_root(folder)) as echod:
            stamp = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
            line = syslog.wait(rf"^<30>{stamp} echod\[{echod.pid}\]: listening on (\S+)$")
            address = line[1]
            assert exchange(connect_to(address), b"hello") == b"hello"
            syslog.wait(rf"^<30>{stamp} echod\[{echod.pid}\]: closed peer=\S+ .*end=fin")

            syslog.stop()
            assert exchange(connect_to(address), b"away") == b"away"
            syslog.start()
            syslog.wait("closed .* bytes-in=4 ")

            # a reload may change facility and target
            since = len(syslog.lines())
            echod.reload({"log": {"target": "syslog", "facility": "local0"}})
            syslog.wait(rf"^<{16 * 8 + 6}>.* new settings are in force", since)
            echod.reload({"log": {"target": "journal"}})
            journal.wait("MESSAGE=.* new settings are in force")
            assert exchange(connect_to(address), b"hello") == b"hello"
            journal.wait("MESSAGE=closed ")
        assert not any("closed peer" in line for line in echod.log()), echod.log()


@case("without the configured log a reader of standard error that stops stops nobody")
def test_missing_syslog():
    total = 400     # more lines than a pipe holds
    with logging_folder() as (folder, syslog, _):
        syslog.stop()
        config, socket_path = os.path.join(folder, "echod.conf"), os.path.join(folder, "echo")
        os.chmod(folder, 0o777)
        with open(config, "w", encoding="utf-8") as file:
            file.write(render_settings({
                "log": {"target": "syslog", "connections": "all", "max-per-second": 0},
                "control": {"path": folder + "/control"}}))
        with subprocess.Popen([*private_root(folder), program("echod"), "-c", config,
                               "-l", f"unix:{socket_path}"], stderr=subprocess.PIPE,
                              env=Echod.environment()) as echod:
            try:
                wait_accepts(f"unix:{socket_path}")
                for _ in range(total):
                    assert exchange(connect_to(f"unix:{socket_path}"), b"x") == b"x"
                syslog.start()
                result = run_echoctl("--control", folder + "/control", "reload")
                assert result.returncode == 0, result
                syslog.wait("new settings are in force")
                assert b"the target cannot be opened: No such file" in echod.stderr.readline()
            finally:
                echod.kill()


@case("a program that takes over while syslogd is away says all that waits, or how much was lost")
def test_take_over():
    total = 1500    # more lines than wait for a log daemon
    with logging_folder() as (folder, syslog, _):
        path, address = os.path.join(folder, "echod"), f"unix:{folder}/echo"
        os.chmod(folder, 0o777)
        shutil.copy(program("echod"), path)
        with open(path + ".conf", "w", encoding="utf-8") as file:
            file.write(render_settings({
                "log": {"target": "auto", "connections": "all", "max-per-second": 0},
                "control": {"path": folder + "/control"}}))
        with subprocess.Popen([*private_root(folder), path, "-c", path + ".conf", "-l", address],
                              stderr=subprocess.DEVNULL, env=Echod.environment()) as echod:
            try:
                syslog.wait("listening on ")
                syslog.stop()
                for _ in range(total):
                    assert exchange(connect_to(address), b"x") == b"x"
                shutil.copy(path, path + ".new")
                os.rename(path + ".new", path)
                result = run_echoctl("--control", folder + "/control", "reload")
                assert result.returncode == 0, result
                syslog.start()
                assert exchange(connect_to(address), b"at last") == b"at last"
                syslog.wait("closed .*bytes-in=7 ")

                def accounted():
                    lines = syslog.lines()
                    said = sum(": closed " in line or ": opened " in line for line in lines)
                    lost = (re.search(r"lost lines=(\d+)", line) for line in lines)
                    lost = [int(match[1]) for match in lost if match]
                    return lost and said + sum(lost) >= 2 * total
                wait_until(accounted, "each line was written or counted as lost")
            finally:
                echod.kill()


@case("journal: the fields of a line are there natively")
def test_journal():
    with logging_folder() as (folder, _, journal):
        with Echod({"log": {"target": "auto", "connections": "all"}}, wait=False,
                   env={"ECHOD_TEST_STREAM": "1"}, command=private_root(folder)) as echod:
            address = journal.wait(r"MESSAGE=listening on (\S+)")[1]
            client = connect_to(address)
            peer = "%s:%d" % client.getsockname()
            assert exchange(client, b"hello") == b"hello"
            fields = entry_fields(journal.wait("MESSAGE=closed ").string)
            opened = entry_fields(journal.wait("MESSAGE=opened ").string)
        expected = {"PRIORITY": "6", "SYSLOG_IDENTIFIER": "echod", "SYSLOG_PID": str(echod.pid),
                    "SYSLOG_FACILITY": "3", "ECHOD_EVENT": "closed", "ECHOD_PEER": peer,
                    "ECHOD_LOCAL": address, "ECHOD_BYTES_IN": "5", "ECHOD_BYTES_OUT": "5",
                    "ECHOD_END": "fin", "ECHOD_RETRANSMITS": "0"}
        assert expected.items() <= fields.items(), fields
        for name in ("ECHOD_WORKER", "ECHOD_DURATION", "ECHOD_CPU", "ECHOD_RTT"):
            assert name in fields, fields
        assert re.fullmatch("[0-9a-f]{32}", fields["MESSAGE_ID"])
        assert fields["MESSAGE_ID"] != opened["MESSAGE_ID"]


@case("without a journal socket its stream on standard error gets the priorities")
def test_journal_stream():
    with temporary_directory() as folder:
        for name in ("dev", "run"):
            os.mkdir(os.path.join(folder, name))
        with Echod({"log": {"target": "auto"}}, env={"ECHOD_TEST_STREAM": "1"},
                   command=private_root(folder)) as echod:
            assert exchange(echod.connect(), b"hello") == b"hello"
            echod.wait_log("^<6>closed peer=")
        # so do errors that come before there is a log
        echod = Echod(text="nonsense = 1\n", env={"ECHOD_TEST_STREAM": "1"}, wait=False,
                      command=private_root(folder))
        echod.wait_log("^<3>.*nonsense")
        assert echod.wait() == 78


@case("a journal that stands still stops nobody, and what it misses is counted")
def test_stopped_journal():
    total = 1500
    with logging_folder() as (folder, _, journal):
        with Echod({"log": {"target": "journal", "connections": "all", "max-per-second": 0}},
                   wait=False, command=private_root(folder)) as echod:
            address = journal.wait(r"MESSAGE=listening on (\S+)")[1]
            start = time.monotonic()
            for _ in range(total):
                assert exchange(connect_to(address), b"x") == b"x"
            assert time.monotonic() - start < 4 * DEADLINE_S

            def accounted():
                lines = journal.lines()
                events = sum("\nECHOD_EVENT=closed\n" in line or "\nECHOD_EVENT=opened\n" in line
                             for line in lines)
                lost = [re.search(r"\nECHOD_LINES=(\d+)\n", line) for line in lines
                        if line.startswith("MESSAGE=lost ")]
                lost = sum(int(match[1]) for match in lost)
                return lost > 0 and events + lost == 2 * total
            wait_until(accounted, "every line has come or is counted as lost")
            assert exchange(connect_to(address), b"after") == b"after"
            journal.wait(r"MESSAGE=closed .* bytes-in=5 ")
        assert echod.popen.returncode == 0


main()
