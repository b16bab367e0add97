#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Standard streams of echoctl that fail: said, never waited for, and status 4."""
import subprocess
import threading

from harness import DEADLINE_S, Echod, case, main, program
from harness_peers import Peer, echo


def leave(arguments, address, gone=None):
    """Reads the first line only, then sets gone; the command has to say so and end."""
    with subprocess.Popen([program("echoctl"), *arguments, address], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        try:
            assert client.stdout.readline()
            client.stdout.close()
            if gone:
                gone.set()
            status = client.wait(DEADLINE_S)
        finally:
            client.kill()
        errors = client.stderr.read()
        assert status == 4, (arguments, status, errors)
        assert b"standard output: Broken pipe" in errors, (arguments, errors)


@case("a command that goes on for long ends when nobody reads its results")
def test_reader_gone():
    with Echod() as echod:
        for arguments in (("ping", "-i", "10ms"), ("--json", "ping", "-i", "10ms"),
                          ("idle", "--min", "10ms", "--max", "1h"),
                          ("--json", "load", "-c", "1", "--rate", "50", "-d", "1h", "--progress"),
                          ("--json", "send", "--repeat", "1000000000")):
            leave(arguments, echod.address)
    gone = threading.Event()

    def when_gone(connection):
        gone.wait(DEADLINE_S)
        echo(connection)
    # A sweep is over soon: it must not be before its reader has left.
    with Peer(when_gone) as peer:
        leave(("sweep", "--drain-timeout", "30s"), peer.address, gone)


@case("a full disk is status 4, and UNKNOWN for check, whose codes are a plugin's")
def test_full():
    with Echod() as echod, open("/dev/full", "wb") as full:
        for arguments, wanted in ((("ping", "-c", "2", "-i", "10ms"), 4), (("halfclose",), 4),
                                  (("trace",), 4), (("sweep", "-s", "1"), 4), (("check",), 3),
                                  (("check", "--help"), 3), (("load", "-n", "10"), 4),
                                  (("idle", "--min", "10ms", "--max", "20ms"), 4),
                                  (("ping", "--help"), 4), (("--version",), 4)):
            for options in ((), ("--json",)):
                result = subprocess.run([program("echoctl"), *options, *arguments, echod.address],
                                        stdin=subprocess.DEVNULL, stdout=full, check=False,
                                        stderr=subprocess.PIPE, timeout=DEADLINE_S)
                assert result.returncode == wanted, (arguments, result)
                assert b"standard output: No space left" in result.stderr, (arguments, result)


@case("closed and unreadable standard streams are local errors")
def test_closed():
    with Peer(echo) as peer:
        for redirection, phrase in ((">&-", b"standard output: Bad file descriptor"),
                                    ("<&-", b"standard input: Bad file descriptor"),
                                    ("</", b"standard input: Is a directory")):
            result = subprocess.run(
                ["sh", "-c", f'"$0" send "$1" {redirection}', program("echoctl"), peer.address],
                input=b"hello\n", capture_output=True, timeout=DEADLINE_S, check=False)
            assert result.returncode == 4 and phrase in result.stderr, (redirection, result)


main()
