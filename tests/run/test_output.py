#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Results of echoctl that cannot be written: said, never waited for, and status 4."""
import subprocess

from harness import DEADLINE_S, Echod, case, main, program


@case("a command that goes on for long ends when nobody reads its results")
def test_reader_gone():
    with Echod() as echod:
        for arguments in (("ping", "-i", "10ms"), ("--json", "ping", "-i", "10ms"),
                          ("idle", "--min", "10ms", "--max", "1h"),
                          ("--json", "load", "-c", "1", "--rate", "50", "-d", "1h", "--progress"),
                          ("--json", "send", "--repeat", "1000000000"), ("sweep",)):
            with subprocess.Popen([program("echoctl"), *arguments, echod.address],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE) as client:
                try:
                    assert client.stdout.readline()
                    client.stdout.close()
                    status = client.wait(DEADLINE_S)
                finally:
                    client.kill()
                errors = client.stderr.read()
                assert status == 4, (arguments, status, errors)
                assert b"standard output: Broken pipe" in errors, (arguments, errors)


main()
