#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The commands of echoctl that see and steer the local daemon."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

from harness import (DEADLINE_S, SRCDIR, Echod, Skip, case, main, program, read_exactly,
                     run_echoctl, temporary_directory, wait_until)
from harness_terminal import HEIGHT, Terminal

try:
    import jsonschema
except ImportError:
    jsonschema = None


def ask(echod, *arguments, deadline_s=DEADLINE_S):
    """echoctl on this daemon's socket: (status, standard output, standard error)."""
    result = run_echoctl("--control", echod.folder + "/control", *arguments,
                         deadline_s=deadline_s, env=dict(os.environ, LC_ALL="C"))
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def objects(echod, *arguments):
    """The JSON lines of a command that has to succeed."""
    status, out, err = ask(echod, "--json", *arguments)
    assert status == 0 and not err, (status, out, err)
    return [json.loads(line) for line in out.splitlines()]


def hold(echod, data=b"held", index=0):
    sock = echod.connect(index)
    sock.sendall(data)
    assert read_exactly(sock, len(data)) == data
    return sock


def id_of(echod, sock):
    port = sock.getsockname()[1]
    return next(row["id"] for row in objects(echod, "list")
                if row["event"] == "connection" and row["peer"].endswith(f":{port}"))


@case("status shows sockets, generations, settings, counters and limits")
def test_status():
    with Echod({"limits": {"connections": 4}}) as echod, hold(echod), hold(echod):
        status, out, err = ask(echod, "status")
        assert status == 0 and not err, err
        for pattern in (rf"process {echod.pid}, up", rf"listening +{re.escape(echod.address)}\n",
                        r"connections +2 of 4 \[#{15} {15}\] 50\.0%", r"2 accepted, 0 served",
                        rf"settings +{echod.config}, in force since \d{{4}}-\d\d-\d\d ",
                        rf"\n +1  serving .* {echod.listener_pid} +2 +4\n", r"level info"):
            assert re.search(pattern, out), (pattern, out)
        assert all(len(line) <= 80 for line in out.splitlines() if echod.folder not in line), out
        [answer] = objects(echod, "status")
        assert answer["connections"]["live"] == 2 and not answer["reloading"]
        wait_until(lambda: objects(echod, "status")[0]["connections"]["live_bytes_in"] == 8,
                   "bytes of live connections are counted")
        assert "new/s" not in out, "one look has no rates"


@case("what has ended is counted once: among the totals, no longer among the live ones")
def test_status_moment():
    with Echod() as echod:
        for number in range(1, 6):
            hold(echod).close()
            echod.wait_log("closed peer", count=number)
            [answer] = objects(echod, "status")
            counted = {name: answer["connections"][name]
                       for name in ("live", "live_bytes_in", "live_bytes_out", "bytes_in")}
            assert counted == {"live": 0, "live_bytes_in": 0, "live_bytes_out": 0,
                               "bytes_in": 4 * number}, counted


@case("list shows a row a connection, filtered and sorted")
def test_list():
    with Echod(listen=("127.0.0.1:0", "[::1]:0")) as echod, hold(echod, b"12345678"), \
            hold(echod, b"123") as small, hold(echod, b"1", index=1) as v6:
        status, out, err = ask(echod, "list", "--sort", "in")
        assert status == 0 and not err, err
        head, *rows, end = out.splitlines()
        assert head.split() == "ID PEER LOCAL AGE IDLE IN OUT RATE WORKER".split(), head
        assert [re.search(r" (\d)B ", row)[1] for row in rows] == ["8", "3", "1"], out
        assert end == "3 of 3 connections"
        worker = int(rows[1].split()[-1])
        assert worker in echod.worker_pids() and f":{small.getsockname()[1]} " in rows[1]
        for arguments, count in ((["--source", "::1"], 1), (["--source", "127.0.0.0/8"], 2),
                                 (["--source", "192.0.2.0/24"], 0), (["--rows", "2"], 2),
                                 (["--idle-over", "1h"], 0), (["--age-over", "0"], 3),
                                 (["--sort", "age", "-n", "1"], 1)):
            lines = objects(echod, "list", *arguments)
            assert len(lines) == count + 1 and lines[-1]["count"] == 3, (arguments, lines)
        assert ask(echod, "list", "--sort", "in", "--reverse")[1].splitlines()[1:4] != rows
        v6.close()
        wait_until(lambda: objects(echod, "list")[-1]["count"] == 2, "it is gone")
        for arguments in (["--sort", "colour"], ["--source", "x"], ["operand"]):
            assert ask(echod, "list", *arguments)[0] == 3, arguments


@contextlib.contextmanager
def answering(folder, answers, rows):
    """What gives these rows of list to so many clients, at the control socket of the folder."""
    data = b"".join(json.dumps(line).encode() + b"\n" for line in [*rows, {"event": "list"}])

    def answer():
        for _ in range(answers):
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(data)
                client.recv(1)

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(folder + "/control")
        server.listen()
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield
        thread.join(DEADLINE_S)


@case("the rows of list: which ones, in which order, in which words")
def test_list_rows():
    def row(number, peer, idle_ns, **more):
        return {"event": "connection", "id": f"2.{number}", "peer": peer, "idle_ns": idle_ns,
                "age_ns": 2 * idle_ns, **more}

    rows = [row(10, "192.0.2.10:1", 1_000_000_000, bytes_in=5), row(9, "192.0.2.9:1", 999_999_999,
            bytes_in=7), row(3, "192.0.3.7:51812", 0), row(4, "[2001:db8::1]:7", 0, bytes_in=5),
            row(5, "[fe80::1%2]:7", 0), row(6, "unix:pid=1,uid=0", 0), row(7, "unknown", 0)]
    full = row(8, "192.0.2.10:1", 950_000_000, age_ns=184 * 10**9, bytes_in=8, bytes_out=1572864,
               bytes_in_per_s=1000, bytes_out_per_s=48, worker=7, half_closed=True)
    cases = (("--source 192.0.2.0/24", "10 9"), ("--source 2001:db8::/32", "4"),
             ("--source fe80::1", "5"), ("--source ::/0", "4 5"), ("--idle-over 1s", "10"),
             ("--age-over 2s", "10"), ("--rows 2", "10 9"), ("--sort id", "3 4 5 6 7 9 10"),
             ("--sort id --reverse --rows 2", "10 9"), ("--sort in", "9 4 10 3 5 6 7"),
             ("--sort peer --source 192.0.2.0/24", "9 10"), ("--sort local", "3 4 5 6 7 9 10"))
    with temporary_directory() as folder:
        command = ("--control", folder + "/control", "list", "--columns")
        with answering(folder, len(cases), rows):
            for options, wanted in cases:
                result = run_echoctl(*command, "id", *options.split())
                _, *shown, _ = result.stdout.decode().splitlines()
                assert [line.strip().split(".")[1] for line in shown] == wanted.split(), (
                    options, result)
    with temporary_directory() as folder, answering(folder, 1, [full]):
        result = run_echoctl("--control", folder + "/control", "list", "--columns",
                             "age,idle,in,out,rate,worker,state")
        assert result.stdout.decode().splitlines()[1].split() == [
            "3m4s", "950ms", "8B", "1.5M", "1.0K/s", "7", "half-closed"], result


@case("the columns of list are as wide as what stands in them, and fit a terminal")
def test_list_widths():
    with temporary_directory() as folder:
        path = f"{folder}/a-path-that-is-longer-than-\x1b[31man-address-of-the-network"
        with Echod() as echod, hold(echod):
            head, row, _ = ask(echod, "list")[1].splitlines()
            assert len(head) == len(row) <= 80, (head, row)
        rows = [{"event": "connection", "id": f"1.{number}", "peer": peer, "local":
                 "unix:" + path, "bytes_in": 1 << number} for number, peer in
                ((9, "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"), (10, "192.0.2.7:1"))]
        with answering(folder, 3, rows):
            arguments = (program("echoctl"), "--control", folder + "/control", "list")
            result = run_echoctl(*arguments[1:], "--sort", "id", env=dict(os.environ, LC_ALL="C"))
            head, *shown, _ = result.stdout.decode().splitlines()
            assert len({len(line) for line in (head, *shown)}) == 1 and len(head) > 80, shown
            assert all(f" unix:{folder}/a-path-that-is-longer-than-\\x1b[31m" in line
                       for line in shown), shown
            result = run_echoctl("--json", *arguments[1:], "--sort", "in")
            assert [json.loads(line)["id"] for line in result.stdout.splitlines()[:2]] == \
                ["1.10", "1.9"] and json.loads(result.stdout.splitlines()[0]) == rows[1]
            with Terminal(*arguments, width=80) as terminal:
                screen = terminal.wait("EXIT 0")
                assert len(screen) == 5 and screen[0].startswith("ID "), screen


@case("list shows the columns that are asked for, in their order")
def test_list_columns():
    with Echod() as echod, hold(echod) as sock:
        head, row, _ = ask(echod, "list", "--columns", "worker,peer")[1].splitlines()
        assert head.split() == ["WORKER", "PEER"] and row.split() == [
            str(echod.worker_pids()[0]), "127.0.0.1:%d" % sock.getsockname()[1]], (head, row)
        assert ask(echod, "list", "--columns", "id,colour")[0] == 3
        assert ask(echod, "list", "--source", "192.0.2.1")[1] == "0 of 1 connections\n"


@case("list --watch shows a row that is as wide as the terminal to its last column")
def test_list_watch_width():
    with Echod() as echod, hold(echod):
        row = ask(echod, "list", "--columns", "peer,worker")[1].splitlines()[1]
        with Terminal(program("echoctl"), "--control", echod.folder + "/control", "list",
                      "--columns", "peer,worker", "--watch", width=len(row)) as terminal:
            terminal.wait(f"^{re.escape(row)}$")


@case("list knows which connections of a dead listener have ended")
def test_list_orphans():
    with Echod() as echod, hold(echod) as first, hold(echod):
        os.kill(echod.listener_pid, signal.SIGKILL)
        echod.wait_log("left its connections behind")
        assert objects(echod, "list")[-1]["count"] == 2
        first.close()
        echod.closed_connections(1)
        [row, end] = objects(echod, "list")
        assert end["count"] == 1 and row["worker"] in echod.worker_pids()
        assert " restarted 1 time, starved 0 times\n" in ask(echod, "status")[1]


@case("kill ends one connection, or those of a source, in an orderly way")
def test_kill():
    with Echod(listen=("127.0.0.1:0", "[::1]:0")) as echod, hold(echod) as first, \
            hold(echod) as second, hold(echod) as third, hold(echod, index=1) as other:
        victim = id_of(echod, second)
        status, out, err = ask(echod, "kill", victim)
        assert (status, out, err) == (0, "1 connection ended\n", "")
        status, out, err = ask(echod, "kill", victim)
        assert status == 1 and f"no connection {victim}" in err, (out, err)
        assert second.recv(1) == b"", "an orderly end"
        assert not any(row.get("half_closed") for row in objects(echod, "list")), "by its peer"
        assert echod.closed_connections(1)[0]["end"] == "killed"
        echod.wait_log(r"control: ends connection 1\.\d+ \(uid 0, pid \d+\)" if os.geteuid() == 0
                       else r"control: ends connection")
        assert ask(echod, "kill", "--source", "127.0.0.0/8")[1] == "2 connections ended\n"
        assert first.recv(1) == b"" == third.recv(1)
        other.sendall(b"x")
        assert read_exactly(other, 1) == b"x"
        for wrong, wanted in (("1.999", "no connection 1.999"), ("99.1", "no connection")):
            status, out, err = ask(echod, "kill", wrong)
            assert status == 1 and not out and wanted in err, (wrong, err)
        assert ask(echod, "kill", "--source", "192.0.2.1")[:2] == (1, "0 connections ended\n")
        assert ask(echod, "kill")[0] == 3 == ask(echod, "kill", "--source", "192.0.2.1/8")[0]


@contextlib.contextmanager
def stopped_worker(requests):
    """A daemon, and the answers to kills of its connection, whose worker stands still."""
    with Echod() as echod, hold(echod) as held, \
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        [worker] = echod.worker_pids()
        request = json.dumps({"command": "kill", "id": id_of(echod, held)}).encode() + b"\n"
        os.kill(worker, signal.SIGSTOP)
        control.connect(echod.folder + "/control")
        control.settimeout(DEADLINE_S)
        control.sendall(requests * request)
        yield echod, map(json.loads, control.makefile("rb"))


@case("a worker that does not end is killed; those who told it are answered then")
def test_kill_repeated():
    with stopped_worker(3) as (echod, answers):
        assert [next(answers)["ok"] for _ in range(3)] == [True, False, False]
        assert echod.closed_connections(1)[0]["end"] == "killed"


@case("kill is answered when the daemon ends too")
def test_kill_and_drain():
    with stopped_worker(1) as (echod, answers):
        echod.wait_log("control: ends connection")
        echod.signal(signal.SIGTERM)
        assert next(answers)["count"] == 1
        assert echod.wait() == 0


@case("reload waits until the settings are in force, and says what is wrong as echod -t does")
def test_reload():
    with Echod() as echod, hold(echod) as held:
        echod.write_config({"limits": {"connections": 77}})
        status, out, err = ask(echod, "reload")
        assert (status, out, err) == (0, "new settings are in force\n", "")
        [answer] = objects(echod, "status")
        assert answer["connections"]["max"] == 77
        assert [item["state"] for item in answer["generations"]] == ["serving", "draining"]
        echod.write_config({"limits": {"connections": 0}})
        with open(echod.config, "ab") as file:
            file.write(b"colour = 'blue\xff'\n")
        test = subprocess.run([program("echod"), "-t", "-c", echod.config], capture_output=True,
                              timeout=DEADLINE_S, check=False)
        status, out, err = ask(echod, "reload")
        *problems, end = err.splitlines()
        assert status == 1 and not out and "old settings stay in force" in end, err
        assert "\n".join(problems) == test.stderr.decode(errors="replace").rstrip().replace(
            "\ufffd", "?"), (problems, test.stderr)
        lines = json.loads(ask(echod, "--json", "reload")[1])
        assert not lines["ok"] and len(lines["problems"]) == len(problems)
        assert objects(echod, "status")[0]["connections"]["max"] == 77
        held.sendall(b"x")
        assert read_exactly(held, 1) == b"x"


@case("reload says what does not count yet, or does not work, as the log does")
def test_reload_remarks():
    with Echod({"listen": ["127.0.0.1:0"]}, listen=()) as echod:
        plain = {"listen": ["127.0.0.1:0"], "control": {"path": echod.folder + "/control"}}
        for settings, remark in (
                ({"user": "daemon", **plain}, "user: changed, takes effect at the next start"),
                ({**plain, "control": {**plain["control"], "mode": "0600"}},
                 "control: changed, takes effect at the next start"),
                ({"metrics": {"file": "/proc/nowhere"}, **plain}, "metrics.file: /proc/nowhere: ")):
            echod.write_config(settings)
            mark = echod.log_mark()
            status, out, err = ask(echod, "--json", "reload")
            answer = json.loads(out)
            assert status == 0 and answer["ok"], (status, out)
            assert any(line.startswith(remark) for line in answer["problems"]), answer
            assert err.splitlines() == answer["problems"], (err, answer)
            for line in answer["problems"]:
                echod.wait_log(re.escape(line), since=mark)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            echod.write_config({**plain, "listen": [address]})
            status, out, err = ask(echod, "reload")
            assert status == 1 and not out and f"{address}: bind: " in err, err


@case("reload of a daemon whose program has changed: the new one answers")
def test_upgrade():
    with temporary_directory() as folder:
        path = os.path.join(folder, "echod")
        shutil.copy(program("echod"), path)
        command = ("/bin/sh", "-c", 'shift; exec "$0" "$@"', path)
        with Echod(command=command) as echod, hold(echod) as held:
            shutil.copy(program("echod"), path + ".new")
            os.rename(path + ".new", path)
            status, out, err = ask(echod, "reload")
            assert status == 0 and "a new program has taken over" in out, (out, err)
            echod.wait_log("takes over")
            [answer] = objects(echod, "status")
            assert answer["pid"] == echod.pid and len(answer["generations"]) >= 2
            held.sendall(b"x")
            assert read_exactly(held, 1) == b"x"
            # The socket is still the one that was bound, whatever the settings say by now.
            elsewhere = {"control": {"path": folder + "/elsewhere"}}
            echod.write_config(elsewhere)
            assert ask(echod, "reload")[0] == 0
            with open(folder + "/elsewhere", "wb"):
                pass
            shutil.copy(program("echod"), path + ".new")
            os.rename(path + ".new", path)
            assert ask(echod, "reload")[0] == 0
            os.chmod(echod.folder, 0o777)
            assert echod.stop() == 0
            assert os.path.exists(folder + "/elsewhere")
            assert not os.path.exists(echod.folder + "/control")


@case("log-level holds until the next reload")
def test_log_level():
    with Echod() as echod:
        assert ask(echod, "log-level", "debug")[0] == 0
        assert objects(echod, "status")[0]["log_level"] == 7
        # what is a level the daemon says
        for level, number in (("warn", 4), ("error", 3)):
            assert ask(echod, "log-level", level)[0] == 0
            assert objects(echod, "status")[0]["log_level"] == number
        for level in ("loud", "DEBUG", "7", ""):
            status, _, err = ask(echod, "log-level", level)
            assert status == 1 and "warning" in err, (level, status, err)
        assert ask(echod, "reload")[0] == 0
        assert objects(echod, "status")[0]["log_level"] == 6


@case("drain waits until the last connection and the daemon have ended")
def test_drain():
    with Echod({"timeouts": {"drain": "10min"}}) as echod, hold(echod) as held:
        results = []
        worker = threading.Thread(target=lambda: results.append(ask(echod, "drain")))
        worker.start()
        echod.wait_log("stopping: 1 active")
        [answer] = objects(echod, "status")
        assert answer["draining"] and answer["sockets"] == []
        status, _, err = ask(echod, "reload")
        assert status == 1 and "stopping" in err
        assert not results
        held.close()
        worker.join(DEADLINE_S)
        assert [result[:2] for result in results] == [(0, "echod has ended\n")], results
        assert echod.wait() == 0


@case("drain tells how many are left: each time that they have halved, or in one line")
def test_drain_left():
    with Echod({"timeouts": {"drain": "10min"}}) as echod:
        held = [echod.connect() for _ in range(3)]
        wait_until(lambda: len(echod.worker_pids()) == 3, "three workers")
        with subprocess.Popen([program("echoctl"), "--control", echod.folder + "/control",
                               "drain"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as client:
            assert client.stderr.readline() == "echoctl: 3 connections left\n"
            with Terminal(program("echoctl"), "--control", echod.folder + "/control",
                          "drain") as terminal:
                assert terminal.wait("^3 connections left$") == ["3 connections left"]
                held.pop().close()
                assert terminal.wait("^2 connections left$") == ["2 connections left"]
                held.pop().close()
                assert terminal.wait("^1 connection left$") == ["1 connection left"]
                assert client.stderr.readline() == "echoctl: 1 connection left\n"
                held.pop().close()
                screen = terminal.wait("^EXIT")
                assert screen == ["echod has ended", "EXIT 0"], screen
            out, err = client.communicate(timeout=DEADLINE_S)
            assert (client.returncode, out, err) == (0, "echod has ended\n", ""), (out, err)
        assert echod.wait() == 0


@case("drain: -q and --json have no remarks")
def test_drain_quiet():
    for option, wanted in (("-q", "echod has ended"), ("--json", '{"event":"drain"')):
        with Echod({"timeouts": {"drain": "700ms"}}) as echod, hold(echod):
            status, out, err = ask(echod, option, "drain")
            assert status == 0 and out.startswith(wanted) and err == "", (out, err)
            assert echod.wait() == 0


@case("drain gives up after its time")
def test_drain_timeout():
    with Echod({"timeouts": {"drain": "10min"}}) as echod, hold(echod) as held:
        status, _, err = ask(echod, "drain", "--timeout", "100ms")
        assert status == 2 and "in time" in err, err
        held.close()


@case("a daemon that is not there, silent, or no echod is named; status 2")
def test_unreached():
    with temporary_directory() as folder:
        path = folder + "/control"

        def fails(wanted, *arguments, patience="20s"):
            result = run_echoctl("--control", path, "--connect-timeout", patience, *arguments)
            assert result.returncode == 2 and not result.stdout, result
            assert wanted in result.stderr.decode() and path in result.stderr.decode(), result

        fails("no echod answers there", "status")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            fails("no echod answers there", "list")
            server.listen(8)
            for command in (["status"], ["list"], ["kill", "1.1"], ["metrics"],
                            ["log-level", "info"], ["reload", "--timeout", "300ms"]):
                fails("does not answer in time", *command, patience="300ms")

            def answer(data):
                client = server.accept()[0]
                client.recv(4096)
                with contextlib.suppress(ConnectionError):
                    client.sendall(data)
                client.close()

            while True:     # those that gave up
                server.settimeout(0.2)
                try:
                    server.accept()[0].close()
                except TimeoutError:
                    break
            server.settimeout(DEADLINE_S)
            for data, wanted in ((b"220 ready\n", "no echod"), (b"[1]\n", "no echod"),
                                 (b'{"event":1}\n', "no echod"), (b"", "closed the connection"),
                                 (b'{"event":"metr', "closed the connection"),
                                 (b"x" * (5 << 20), "no echod")):
                thread = threading.Thread(target=answer, args=(data,))
                thread.start()
                if len(data) > 1 << 20:
                    server.settimeout(None)
                fails(wanted, "metrics")
                thread.join(DEADLINE_S)


@case("a control socket that cannot be had as it is configured ends the start, and says why")
def test_no_socket():
    for control, status, wanted in (
            ({"path": "/proc/nowhere/control"}, 1,
             "control.path: /proc/nowhere/control: No such file or directory"),
            ({"group": "no-such-group"}, 78, 'control.group: "no-such-group": no such group')):
        with temporary_directory() as folder:
            os.chmod(folder, 0o777)
            echod = Echod({"control": {"path": folder + "/control", **control}}, wait=False)
            assert echod.wait() == status
            assert any(line.endswith(": " + wanted) for line in echod.log()), echod.log()
            assert not os.listdir(folder), "the socket is left behind"


@case("a command that has no descriptors left is a local error")
def test_no_descriptors():
    with Echod() as echod:
        result = subprocess.run(
            ["sh", "-c", 'ulimit -n 4; exec "$@"', "sh", program("echoctl"), "--control",
             echod.folder + "/control", "status"],
            capture_output=True, timeout=DEADLINE_S, check=False)
        assert result.returncode == 4, result
        assert b"Too many open files" in result.stderr, result


@case("status --watch redraws in place and gives the terminal back")
def test_watch():
    with Echod() as echod, Terminal(program("echoctl"), "--control", echod.folder + "/control",
                                    "status", "--watch") as terminal:
        terminal.wait("connections  0 of 1024")
        with hold(echod):
            terminal.wait(r"connections  1 of 1024 \[█ ")
            screen = terminal.wait(r"at most \d in the last ([3-9]|\d\d) s")
            assert sum(line.startswith("echod ") for line in screen) == 1, "\n".join(screen)
            assert any(re.search("[▁▂▃▄▅▆▇█]{2}", line) for line in screen), "\n".join(screen)
        mark = echod.reload()
        echod.wait_log("new settings are in force", since=mark)
        terminal.wait("         2  serving")
        terminal.press("C-c")
        screen = terminal.wait("EXIT 0")
        assert screen == ["EXIT 0"], "\n".join(screen)


@case("status --watch ends with the daemon, and says so")
def test_watch_end():
    with Echod() as echod, Terminal(program("echoctl"), "--control", echod.folder + "/control",
                                    "status", "-w") as terminal:
        terminal.wait("connections  0 of 1024")
        assert echod.stop() == 0
        screen = terminal.wait("EXIT 2")
        # It may ask in the moment in which the daemon closes.
        assert re.search("no echod answers there|closed the connection without an answer",
                         " ".join(screen)), "\n".join(screen)


@case("status --watch: an error for an answer stays on the screen")
def test_watch_error():
    with temporary_directory() as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(folder + "/control")
        server.listen()

        def answer():
            with server.accept()[0] as connection, connection.makefile("rw") as lines:
                for event in ({"event": "status"}, {"event": "error", "error": "had enough"}):
                    lines.readline()
                    lines.write(json.dumps(event) + "\n")
                    lines.flush()
                lines.readline()

        threading.Thread(target=answer, daemon=True).start()
        with Terminal(program("echoctl"), "--control", folder + "/control", "status",
                      "--watch") as terminal:
            screen = terminal.wait("^EXIT 1$")
            assert screen == ["echoctl: had enough", "EXIT 1"], screen


@case("status --watch in a pipe: one screen, or one object, after the other")
def test_watch_pipe():
    with Echod() as echod:
        for options, wanted in (((), b"echod "), (("--json",), b'{"event":"status"')):
            with subprocess.Popen([program("echoctl"), "--control", echod.folder + "/control",
                                   "status", "--watch", *options], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE) as watcher:
                heads = []
                while len(heads) < 2:
                    line = watcher.stdout.readline()
                    assert line and b"\033" not in line, watcher.stderr.read()
                    heads += [line] if line.startswith(wanted) else []
                watcher.terminate()
                assert watcher.wait(DEADLINE_S) == 0


@case("list --watch redraws in place, as many rows as fit; Ctrl-C ends it")
def test_list_watch():
    with Echod() as echod, Terminal(program("echoctl"), "--control", echod.folder + "/control",
                                    "list", "--watch", "100ms", width=40) as terminal:
        terminal.wait("^0 of 0 connections$")
        with hold(echod):
            screen = terminal.wait("^1 of 1 connections$")
            assert screen[0].split()[:2] == ["ID", "PEER"] and len(screen) == 3, screen
            with contextlib.ExitStack() as stack:
                for _ in range(HEIGHT):
                    stack.enter_context(hold(echod))
                screen = terminal.wait(f"^{HEIGHT - 2} of {HEIGHT + 1} connections$")
                assert len(screen) == HEIGHT and max(map(len, screen)) <= 40, screen
        terminal.wait("^0 of 0 connections$")
        terminal.press("C-c")
        screen = terminal.wait("EXIT")
        assert screen == ["EXIT 0"], screen


@case("list --watch in a pipe: one block, or its objects, after the other")
def test_list_watch_pipe():
    with Echod() as echod, hold(echod):
        for options, wanted in ((("--watch=100ms",), b"1 of 1 connections"),
                                (("-w", "100ms", "--json"), b'{"event":"list"')):
            with subprocess.Popen([program("echoctl"), "--control", echod.folder + "/control",
                                   "list", *options], stdout=subprocess.PIPE) as watcher:
                ends = 0
                while ends < 2:
                    line = watcher.stdout.readline()
                    assert line and b"\033" not in line, line
                    ends += line.startswith(wanted)
                watcher.terminate()
                assert watcher.wait(DEADLINE_S) == 0
        assert ask(echod, "list", "--watch", "1ms")[0] == 3
        assert ask(echod, "list", "--watch", "1s", "2s")[0] == 3


@case("status --watch goes on after Ctrl-Z and fg")
def test_watch_continued():
    with Echod() as echod, subprocess.Popen(
            [program("echoctl"), "--control", echod.folder + "/control", "status", "--watch",
             "--json"], stdout=subprocess.PIPE) as watcher:
        for _ in range(3):
            assert watcher.stdout.readline().startswith(b'{"event":"status"')
            watcher.send_signal(signal.SIGCONT)
        watcher.terminate()
        assert watcher.wait(DEADLINE_S) == 0


@case("every line of the socket is what doc/control.schema.json says")
def test_schema():
    if not jsonschema:
        raise Skip("python3-jsonschema is not installed")
    with open(os.path.join(SRCDIR, "doc/control.schema.json"), encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    seen = set()
    with Echod() as echod, hold(echod) as held:
        lines = []
        for command in (["status"], ["list"], ["metrics"], ["log-level", "debug"],
                        ["kill", "99.1"], ["kill", id_of(echod, held)], ["reload"],
                        ["kill", "--source", "192.0.2.1"], ["drain"]):
            out = ask(echod, "--json", *command)[1]
            lines += [json.loads(line) for line in out.splitlines()]
        echod.wait()
    for line in lines:
        validator.validate(line)
        definition = {"$ref": "#/$defs/" + line["event"], "$defs": schema["$defs"]}
        jsonschema.Draft202012Validator(definition).validate(line)
        seen.add(line["event"])
    described = {entry["$ref"].rpartition("/")[2] for entry in schema["oneOf"]}
    assert seen == described, seen ^ described


main()
