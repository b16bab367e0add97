#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The rules for logcheck(8) know every ordinary line of echod's log, and none of a crash."""
import contextlib
import glob
import os
import re
import signal
import socket
import subprocess

from harness import (DEADLINE_S, SRCDIR, Echod, case, connect_to, exchange, main,
                     read_exactly, wait_until)

RULES = os.path.join(SRCDIR, "etc/logcheck/echod")
HEADS = ("Nov  2 12:34:56 host.example echod[4711]: ",
         "2026-11-22T12:34:56.123456+00:00 host echod[1]: ")
# what is logged at LOG_NOTICE and below although an administrator should look at it
WORTH_READING = ("a new listener is started in", "left its connections behind", "without ",
                 "no control socket")


def unknown(lines):
    """Those of the lines that no rule matches, as logcheck runs them: through egrep."""
    result = subprocess.run(["grep", "-E", "-v", "-f", RULES], input="\n".join(lines) + "\n",
                            capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert result.returncode < 2, result.stderr
    return result.stdout.splitlines()


def assert_known(messages):
    left = unknown(headed(messages))
    assert not left, "\n".join(left[:20])


def headed(messages):
    return [head + message for head in HEADS for message in messages]


def statements():
    """(function, text) of each log_NAME() call in the sources, its format filled in."""
    for path in glob.glob(os.path.join(SRCDIR, "src/echod/**/*.c"), recursive=True):
        with open(path, encoding="utf-8") as file:
            source = file.read()
        source = source.replace("PRIu64", '"lu"').replace("PRIu32", '"u"')
        source = re.sub(r"#define (.*\\\n)*.*", "", source)
        source = re.sub(r'\blog_action\(client, "(.*?)"',
                        r'log_notice("control: \1 (uid %u, pid %d)"', source)
        for call in re.finditer(r'\blog_(info|notice|warning|error|errno)\(((?:\w+, )*)'
                                r'((?:\s*"(?:[^"\\]|\\.)*")+)', source):
            name = call[1]
            text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', call[3])).replace('\\"', '"')
            text = re.sub(r"%(?:lu|llu|lld|u|d)", "42", text).replace("%s", "/some/text")
            yield (call[2].split(",")[0] if name == "errno" else name), text


@case("every information and notice in the sources is known, no error is")
def test_sources():
    found = list(statements())
    ordinary = [text for name, text in found if name in ("info", "notice")
                and not any(part in text for part in WORTH_READING)]
    errors = [text for name, text in found if name in ("error", "warning", "LOG_ERR")]
    assert len(ordinary) > 10 and len(errors) > 30, (ordinary, errors)
    assert any("every datagram is dropped" in text for text in errors)
    assert_known(ordinary)
    assert unknown(headed(errors)) == headed(errors)


@case("the rules know the reasons of a refusal and of a drop that there are, and no other")
def test_reasons():
    for word, header, macro in (("refused", "event.h", "REFUSE_NAMES"),
                                ("dropped", "datagram.h", "DROP_NAMES")):
        with open(os.path.join(SRCDIR, "src/wire", header), encoding="utf-8") as file:
            names = re.search(macro + r" \{([^}]*)\}", file.read())[1]
        with open(RULES, encoding="utf-8") as file:
            known = re.search(word + r" .* reason=\(([^)]*)\)", file.read())[1]
        assert known.split("|") == re.findall(r'"([^"]*)"', names), (known, names)


@case("what a busy daemon logs is known")
def test_real():
    settings = {"limits": {"connections": 4, "connections-per-source": 3, "at-limit": "refuse"},
                "log": {"connections": "all", "max-per-second": 10}}
    with Echod(settings, listen=("127.0.0.1:0", "udp:127.0.0.1:0")) as echod, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reflector:
        port = int(echod.addresses[1].rpartition(":")[2])
        reflector.bind(("127.0.0.9", port))
        reflector.sendto(b"x", ("127.0.0.1", port))
        echod.wait_log("dropped peer=.* reason=port")
        held = [connect_to(echod.addresses[0]) for _ in range(3)]
        for sock in held:
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"
        connect_to(echod.addresses[0]).close()
        echod.wait_log("refused peer=.* reason=connections-per-source")
        for sock in held:
            sock.close()
        echod.wait_log("end=(fin|reset)", count=3)

        def suppressed():
            with contextlib.suppress(ConnectionError):      # workers that end slowly count
                exchange(echod.connect(), b"x" * 100)
            return any("suppressed " in line for line in echod.log())
        wait_until(suppressed, "lines are left out")
        echod.signal(signal.SIGUSR1)
        echod.wait_log("totals ")
        echod.signal(signal.SIGHUP)
        echod.wait_log("reload: new settings are in force")
    messages = [line.removeprefix("echod: ") for line in echod.log()]
    for word in ("listening on", "opened", "closed", "refused", "dropped", "datagrams",
                 "suppressed", "totals", "reload:", "stopp"):
        assert any(message.startswith(word) for message in messages), word
    assert_known([message for message in messages if not message.startswith("user ")])


@case("lines that take some trouble to provoke are known")
def test_rare():
    assert_known([
        "starved errno=EMFILE error=\"Too many open files\" count=1",
        "starved errno=ENOMEM error=\"Cannot allocate memory\" count=12 duration=10.000s",
        "limit connections=1024 state=reached", "limit connections=1024 state=left",
        "limit connections=1024 state=reached count=3 duration=10.001s", "lost lines=12",
        "closed peer=unix:pid=4711,uid=1000 local=\"unix:/run/a b\" worker=7 bytes-in=0 "
        "bytes-out=0 duration=1.000s cpu=0.000s end=idle",
        "closed peer=192.0.2.7:1 local=192.0.2.1:7 worker=7 bytes-in=1 bytes-out=1 "
        "duration=1.000s cpu=0.000s end=stall rtt=1.000ms retransmits=3"])


@case("a crash and what a peer could forge are left for the reader")
def test_crash():
    with Echod({"log": {"connections": "close"}}) as echod:
        with connect_to(echod.addresses[0]) as sock:
            sock.sendall(b"x")
            read_exactly(sock, 1)
            worker = wait_until(echod.worker_pids, "a worker runs")[0]
            os.kill(worker, signal.SIGABRT)     # sanitizers catch SIGSEGV
            echod.wait_log("end=crashed signal=ABRT")
        crash = [line.removeprefix("echod: ") for line in echod.log() if "signal=ABRT" in line]
    assert crash and unknown(headed(crash)) == headed(crash), crash
    forged = ["closed peer=1 local=2 worker=3 bytes-in=1 bytes-out=1 duration=1s cpu=0s "
              "end=killed signal=KILL",
              "closed peer=1 local=2 worker=3 bytes-in=1 bytes-out=1 duration=1s cpu=0s end=error",
              "opened peer=1 local=2 worker=3 listener 7 was killed by signal 11 (Segmentation)"]
    assert unknown(headed(forged)) == headed(forged)


main()
