#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""--series of ping and load: whole rows, whose sums are those of the report; plot draws them."""
import csv
import datetime
import os
import re
import signal
import subprocess
import xml.dom.minidom

from harness import (DEADLINE_S, case, foreign, main, program, run_echoctl, temporary_directory,
                     wait_until)
from harness_datagram import DatagramPeer
from harness_datagram import echo as datagram_echo
from harness_peers import Peer, by_message, echo, events, flip, swallow
from harness_ping import running
from harness_terminal import Terminal

LATENCIES = ["p50_ms", "p90_ms", "p99_ms", "p99.9_ms", "max_ms"]


def read(path):
    """The rows of a series, whose every line is whole."""
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    assert text.endswith("\n"), text[-200:]
    rows = list(csv.DictReader(text.splitlines(), strict=True))
    for row in rows:
        assert None not in row and None not in row.values(), row
        datetime.datetime.strptime(row["time"], "%Y-%m-%dT%H:%M:%S.%fZ")
    return rows


def run(folder, *arguments):
    """A command with --json and --series; its result, its rows and its summary."""
    path = os.path.join(folder, "series.csv")
    result = run_echoctl("--json", *arguments, "--series", path)
    return result, read(path), events(result, arguments[0] + "_summary")[-1]


def total(rows, column):
    return sum(int(row[column]) for row in rows)


@case("ping: a row for each probe, when its result is final")
def test_ping():
    def answer(number, data):
        return flip(data, 40) if number == 2 else data

    with temporary_directory() as folder, Peer(by_message(64, answer)) as peer:
        result, rows, _ = run(folder, "ping", "-c", "4", "-i", "20ms", "-W", "20s", peer.address)
        probes = events(result, "ping_probe")
        assert [row["result"] for row in rows] == ["ok", "corrupt", "ok", "ok"], rows
        for row, probe in zip(rows, probes):
            assert int(row["seq"]) == probe["seq"] and row["target"] == peer.address, (row, probe)
            assert row["rtt_ms"] == ("%.6f" % (probe["rtt_ns"] / 1e6) if "rtt_ns" in probe
                                     else ""), (row, probe)
        times = [float(row["elapsed_s"]) for row in rows]
        assert times == sorted(times) and all(time >= number * 0.02 - 1e-6
                                              for number, time in enumerate(times)), times
    with temporary_directory() as folder, Peer(swallow) as peer:
        result, rows, summary = run(folder, "ping", "-c", "3", "-i", "5ms", "-W", "10ms",
                                    peer.address)
        # Each was overdue before, which is not the end.
        assert [row["result"] for row in rows] == ["lost"] * 3 and summary["lost"] == 3, rows


@case("ping of several targets, over UDP too: the rows carry the target, whatever its name")
def test_targets():
    with temporary_directory() as folder, Peer(echo, folder + '/a,"b"') as odd, Peer(echo) as peer:
        _, rows, _ = run(folder, "ping", "-c", "2", "-i", "5ms", odd.address, peer.address)
        assert sorted(row["target"] for row in rows) == sorted(2 * [odd.address, peer.address])
        result = run_echoctl("plot", folder + "/series.csv")
        assert result.returncode == 0 and odd.address[:20].encode() in result.stdout, result
    with temporary_directory() as folder, DatagramPeer(lambda _, data: [data, data]) as peer:
        _, rows, summary = run(folder, "ping", "-u", "-c", "3", "-i", "5ms", peer.address)
        assert summary["duplicates"] > 0 and len(rows) == 3, (summary, rows)


@case("load: a row for each second, with the sums of the report")
def test_load():
    with temporary_directory() as folder, Peer(echo) as peer:
        for options in (["-d", "2200ms"], ["-d", "1500ms", "--reconnect", "--processes", "2"],
                        ["-d", "1200ms", "--rate", "100", "--progress"]):
            result, rows, summary = run(folder, "load", "-c", "4", *options, peer.address)
            assert result.returncode == 0, result
            assert total(rows, "sent") == total(rows, "ok") == summary["messages"], (rows, summary)
            assert total(rows, "lost") == 0, rows
            assert total(rows, "retransmits") == summary["tcp_info"]["retransmits"], rows
            ends = [float(row["elapsed_s"]) for row in rows]
            assert len(rows) >= 2 and ends == sorted(ends) and 1 <= ends[0] < ends[-1], ends
            for row in rows:
                times = [float(row[name]) for name in LATENCIES if row[name]]
                assert times == sorted(times) and (times or row["ok"] == "0"), row
            latency = summary["latency_from_due" if "--rate" in options else "rtt"]
            most = max(float(row["max_ms"]) for row in rows if row["max_ms"]) * 1e6
            assert latency["max_ns"] - 1 <= most <= latency["max_ns"] * 1.008 + 1, (rows, latency)
    with temporary_directory() as folder, Peer(by_message(64, lambda *_: None)) as peer:
        result, rows, summary = run(folder, "load", "-n", "5", "-c", "1", peer.address)
        assert total(rows, "lost") == total(rows, "sent") == 5, rows
        assert {row[name] for row in rows for name in LATENCIES} == {""}, rows
    with temporary_directory() as folder, DatagramPeer(datagram_echo) as peer:
        _, rows, summary = run(folder, "load", "-u", "-n", "50", peer.address)
        assert total(rows, "ok") == summary["messages"] == 50, (rows, summary)
        assert {row["retransmits"] for row in rows} == {""}, rows


@case("the file is there from the start, and grows by whole rows")
def test_growth():
    with temporary_directory() as folder, Peer(echo) as peer:
        for command in (["load", "-d", "1h"], ["ping", "-i", "10ms"]):
            path = os.path.join(folder, command[0])
            with running(*command, "--series", path, peer.address) as process:
                wait_until(lambda path=path: os.path.exists(path) and os.path.getsize(path) > 0,
                           "the header is there")
                wait_until(lambda path=path: len(read(path)) >= 2, "there are two rows")
                process.terminate()
                output, _ = process.communicate(timeout=DEADLINE_S)
                assert process.returncode == 0 and b"statistics" in output, output
    with temporary_directory() as folder:
        path = os.path.join(folder, "series")
        assert run_echoctl("ping", "--series", path, "127.0.0.1:1").returncode == 2
        assert read(path) == []


@case("no room for a row: said once, no part of it is there, the report comes, exit 4")
def test_full():
    with temporary_directory() as folder, Peer(echo) as peer:
        path = os.path.join(folder, "series")
        for command, most in ((["ping", "-q", "-c", "30", "-i", "1ms"], 30),
                              (["load", "-n", "10", "--reconnect"], 1)):
            # Of ping there is room for some rows, of load for the first line alone.
            limit = "--fsize=1024" if command[0] == "ping" else "--fsize=120"
            result = subprocess.run(
                [foreign("prlimit"), limit, program("echoctl"), *command, "--series", path,
                 peer.address], capture_output=True, timeout=DEADLINE_S, check=False)
            assert result.returncode == 4, result
            assert result.stderr.decode() == f"echoctl: {path}: File too large\n", result
            assert b" statistics ---" in result.stdout, result
            assert len(read(path)) < most, command


@case("a file that cannot be written: exit 4 before anything is sent; no name for one: exit 3")
def test_refused():
    with temporary_directory() as folder, Peer(echo) as peer:
        os.mkfifo(folder + "/fifo")
        for path, why in ((folder, "Is a directory"), (folder + "/no/file", "No such file"),
                          (folder + "/fifo", "No such device"), ("/dev/full", "No space left")):
            for command in ("ping", "load"):
                result = run_echoctl(command, "--series", path, peer.address)
                assert result.returncode == 4 and why.encode() in result.stderr, (path, result)
        for path in ("-", ""):
            for command in ("ping", "load"):
                result = run_echoctl(command, "--series", path, peer.address)
                assert result.returncode == 3, (path, result)
        assert peer.connections == 0


def make_files(folder):
    """One file of ping, one of load."""
    paths = [os.path.join(folder, name) for name in ("ping.csv", "load.csv")]
    with Peer(echo) as peer:
        for path, command in zip(paths, (["ping", "-q", "-c", "20", "-i", "2ms"],
                                         ["load", "-d", "1500ms", "-c", "2"])):
            result = run_echoctl(*command, "--series", path, peer.address)
            assert result.returncode == 0, result
    return paths


@case("plot: a picture as text, SVG or PNG, of files of both kinds side by side")
def test_plot():
    foreign("gnuplot")
    with temporary_directory() as folder:
        paths = make_files(folder)
        for files in (paths[:1], paths[1:], paths):
            result = run_echoctl("plot", *files)
            text = result.stdout.decode()
            assert result.returncode == 0 and result.stderr == b"", result
            assert max(map(len, text.splitlines())) < 80, text
            assert text.count("percentiles") == len(files), text
            assert "20 ok, 0 failed" in text or paths[0] not in files, text
        for picture in ("a.svg", "a.png"):
            path = os.path.join(folder, picture)
            result = run_echoctl("plot", "-o", path, *paths)
            assert (result.returncode, result.stdout, result.stderr) == (0, b"", b""), result
            with open(path, "rb") as file:
                data = file.read()
            assert data.startswith(b"\x89PNG") or xml.dom.minidom.parseString(data), data[:99]
        with open(folder + "/a.svg", encoding="utf-8") as file:
            text = file.read()
        for name in ("p50", "p99.9", "max", "20 ok, 0 failed"):
            assert f"{name}</text>" in text, name
        with open(paths[0], "rb") as file:
            assert run_echoctl("plot", "-", stdin=file.read()).returncode == 0


@case("plot fits the terminal")
def test_plot_terminal():
    foreign("gnuplot")
    with temporary_directory() as folder:
        paths = make_files(folder)
        for width in (50, 120):
            with Terminal(program("echoctl"), "plot", *paths[:1], width=width) as terminal:
                wait_until(lambda terminal=terminal: "EXIT 0" in terminal.lines(), "it is drawn")
                rulers = [line for line in terminal.lines() if "+----" in line]
                assert rulers and all(width * 3 // 4 < len(line) < width for line in rulers), rulers


@case("names of files and targets are text for gnuplot, and nothing else")
def test_plot_names():
    foreign("gnuplot")
    with temporary_directory() as folder:
        path, _ = make_files(folder)
        with open(path, encoding="utf-8") as file:
            rows = file.read()
        for name in ("a'b`touch pwned`<&>\"\\ @c $d;é", "x\ntouch 'pwned'\n", "| touch pwned;"):
            odd = os.path.join(folder, name)
            with open(odd, "w", encoding="utf-8") as file:
                file.write(re.sub(r'"127.*?"', lambda _, name=name: '"%s"' % re.sub(
                    '"', '""', name.replace("\n", " ")), rows))
            picture = odd + ".svg"
            result = subprocess.run([program("echoctl"), "plot", "-o", picture, odd], cwd=folder,
                                    capture_output=True, timeout=DEADLINE_S, check=False)
            assert result.returncode == 0 and result.stderr == b"", result
            texts = xml.dom.minidom.parse(picture).getElementsByTagName("text")
            shown = [node.firstChild.data for node in texts if node.firstChild]
            assert name.replace("\n", " ") in shown, (name, shown)
        assert "pwned" not in os.listdir(folder)
        odd = os.path.join(folder.encode(), b"\xff\xfe.csv")
        with open(odd, "w", encoding="utf-8") as file:
            file.write(rows)
        assert run_echoctl("plot", "-o", folder + "/latin.svg", odd).returncode == 0
        xml.dom.minidom.parse(folder + "/latin.svg")


@case("plot says what is wrong: with the file, its line, gnuplot, the picture")
def test_plot_errors():
    with temporary_directory() as folder:
        def plot(text, *options, env=None):
            path = os.path.join(folder, "series")
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            result = run_echoctl("plot", *options, path, env=env)
            return result.returncode, result.stderr.decode().replace(folder + "/", "")

        header = "elapsed_s,target,result,rtt_ms\n"
        for text, why in (("", "series: no rows\n"), (header, "series: no rows\n"),
                          ("a,b\n", "series:1: not the header of a series of ping or load\n"),
                          (header + "1,t,ok,2\n1,t,ok\n", "series:3: not as many fields"),
                          (header + "1,t,ok,x\n", "series:2: rtt_ms is not a number\n"),
                          (header + '1,"t,ok,1\n', "series:2: quotes do not fit")):
            status, errors = plot(text)
            assert status == 4 and errors.startswith("echoctl: " + why), (text, errors)
        good = header + "0,t,ok,1\n"
        assert plot(good, env=dict(os.environ, PATH=folder)) == (
            4, "echoctl: gnuplot is not installed (package gnuplot-nox)\n")
        with open(folder + "/gnuplot", "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nread -r line; echo broken >&2; exit 3\n")
        os.chmod(folder + "/gnuplot", 0o755)
        status, errors = plot(good, "-o", folder + "/a.svg", env=dict(os.environ, PATH=folder))
        assert (status, errors) == (4, "broken\nechoctl: gnuplot: it failed\n"), errors
        assert not os.path.exists(folder + "/a.svg")
        with open(folder + "/gnuplot", "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nwhile :; do :; done\n")
        status, errors = plot(good, "--deadline", "200ms", env=dict(os.environ, PATH=folder))
        assert (status, errors) == (1, "echoctl: gnuplot: no answer in time\n"), errors
        assert run_echoctl("plot", folder + "/missing").returncode == 4
        os.mkfifo(folder + "/fifo")
        with running("plot", folder + "/fifo") as process, open(folder + "/fifo", "wb"):
            # It has opened the file and waits for the first line.
            process.terminate()
            assert process.wait(DEADLINE_S) == -signal.SIGTERM
        for arguments in ([], ["-o", "a.pdf", "x"], ["-u", "x"], ["--json", "x"], ["x"] * 17):
            assert run_echoctl("plot", *arguments).returncode == 3, arguments


main()
