#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The commands in README and in the manuals' examples do what they say: they are run."""
import os
import re
import subprocess

from harness import (BUILDDIR, DEADLINE_S, SRCDIR, Echod, Process, case, foreign, main,
                     read_exactly, temporary_directory)
from harness_commands import SOURCE, SYSTEM, all_commands, manual_examples, readme_lines
from harness_datagram import DatagramPeer, echo

# A stranger's hosts, ports and patience, and what stands for them here.
HERE = [
    (r"-H (localhost|\S+example\S*)", r"-H {host} -p {port}"),
    (r"localhost|127\.0\.0\.1:7007|\[2001:db8::7\]:7|\S+\.example(\.\S+)?", "{address}"),
    (r"-6 \{address\}", "-6 {address6}"),
    (r"-d (10|30)s", "-d 1s"),
    (r"--rate 1000", "--rate 100"),
    (r"-w 0\.1 -c 1 -t 5", "-w 10 -c 20 -t 25"),
    (r"p99<20ms", "p99<20s"),
    (r"echoctl (status|list|kill|reload|drain|log-level|metrics)\b",
     r"echoctl --control {control} \1"),
    (r" --watch", ""),
    (r"192\.0\.2\.0/24", "127.0.0.0/8"),
    (r"--min 10s --max 1h|--max 10min|--max 30s", "--min 10ms --max 40ms"),
]


def here(command):
    for pattern, replacement in HERE:
        command = re.sub(pattern, replacement, command)
    return command


def run(command, folder):
    return subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=folder, timeout=DEADLINE_S,
                          capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                          env={**Echod.environment(),
                               "PATH": BUILDDIR + ":" + os.environ["PATH"]})


@case("every command of the client gives what it promises, status 0")
def test_client():
    commands = [line for line in all_commands() if re.search(r"\bechoctl\b", line)
                and not re.match(SOURCE, line)]
    assert len(commands) > 14, commands
    with temporary_directory() as folder, DatagramPeer(echo) as datagrams, \
            Echod(listen=("127.0.0.1:0", "[::1]:0")) as echod:
        with open(os.path.join(folder, "disk.img"), "wb") as file:
            file.write(os.urandom(100000))
        with open(os.path.join(folder, "hosts.txt"), "w", encoding="ascii") as file:
            file.writelines(address + "\n" for address in echod.addresses)
        for command in sorted(commands, key=lambda line: (" plot " in line, "drain" in line)):
            if " plot " in command:
                foreign("gnuplot")
            words = here(command).format(
                host="127.0.0.1", port=echod.port,
                address=datagrams.address if " -u" in command else echod.addresses[0],
                address6=echod.addresses[1], control=os.path.join(echod.folder, "control"))
            with echod.connect() as sock:   # there is one to be seen and to be ended
                sock.sendall(b"x")
                assert read_exactly(sock, 1) == b"x"
                result = run(words, folder)
            assert result.returncode == 0, (command, words, result)


# What only another network shows: tests of these commands have one.
NOT_HERE = r"fragmentation needed|fragments pass|\(ICMP type"


def form(line):
    """The line without what differs from run to run: numbers with their units, addresses."""
    line = re.sub(r"localhost|\S+\.example(\.\w+)?", "127.0.0.1", line)
    line = re.sub(r"\d+(\.\d+){3}(:\d+)?", "ADDRESS", line)
    return " ".join(re.sub(r"[-+]?\d[\d.]*( ?([num]?s|B|[KM]iB)\b)?", "N", line).split())


@case("what the manual shows is what the commands print")
def test_shown():
    shown = [example for example in manual_examples("echoctl.1") if example[1]]
    assert len(shown) >= 9, shown
    with DatagramPeer(echo) as datagrams, Echod({"timeouts": {"idle": "4s"}}) as echod:
        for command, lines in shown:
            address = datagrams.address if " -u" in command else echod.address
            # Shorter, but longer than halfclose holds what it reads.
            command = command.replace("--max 30s", "--min 500ms --max 8s")
            words = here(command).format(host="127.0.0.1", port=echod.port, address=address)
            result = run(words, ".")
            printed = {form(line) for line in result.stdout.splitlines()}
            for line in lines:
                assert re.search(NOT_HERE, line) or form(line) in printed, (line, words, result)


@case("every command of the daemon starts it, or tests its settings")
def test_daemon():
    commands = [line for line in all_commands() if line.startswith("echod ")
                and not re.match(SYSTEM, line)]
    assert len(commands) >= 3, commands
    with temporary_directory() as folder:
        with open(os.path.join(SRCDIR, "etc/echod.conf"), encoding="utf-8") as shipped, \
                open(os.path.join(folder, "echod.conf"), "w", encoding="utf-8") as file:
            file.write(shipped.read())
        for command in commands:
            if " -t " in command:
                assert run(command, folder).stdout == "./echod.conf: OK\n"
                continue
            assert command.endswith(" 127.0.0.1:7007"), command
            arguments = command.replace(":7007", ":0").split()[1:]
            echod = Process("echod", [os.path.join(BUILDDIR, "echod"), "-c", "echod.conf",
                                      *arguments], env=Echod.environment(), cwd=folder)
            try:
                echod.wait_log("listening on 127.0.0.1:")
            finally:
                echod.popen.terminate()
            assert echod.wait() == 0


@case("README asks for the packages that ./dev installs for a build")
def test_packages():
    install = next(line for line in readme_lines() if line.startswith("apt-get install build"))
    with open(os.path.join(SRCDIR, "dev"), encoding="utf-8") as file:
        group = re.search(r'\[build\]="(.*?)"', file.read(), re.DOTALL)[1].split()
    asked = set(install.split()[2:])
    if "build-essential" in asked:
        asked |= {"make", "gcc", "libc6-dev"}
        asked.remove("build-essential")
    assert asked == set(group)


main()
