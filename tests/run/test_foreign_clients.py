#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Clients of others get back what they sent."""
import os
import subprocess

from harness import DEADLINE_S, Echod, Skip, case, foreign, main, random_bytes

SIZE = 1 << 20


def check_client(command, data=None):
    """Runs the command with PORT replaced; its standard output must be its standard input."""
    data = random_bytes(SIZE) if data is None else data
    with Echod() as echod:
        command = [word.replace("PORT", str(echod.port)) for word in command]
        result = subprocess.run(command, input=data, capture_output=True, timeout=DEADLINE_S,
                                check=False)
        assert result.stdout == data, \
            f"{len(result.stdout)} of {len(data)} bytes: {result.stderr.decode()}"
        assert result.returncode == 0, (result.returncode, result.stderr)


@case("nc of OpenBSD with -N")
def test_nc_openbsd():
    check_client([foreign("nc.openbsd"), "-N", "127.0.0.1", "PORT"])


@case("traditional nc with -q")
def test_nc_traditional():
    check_client([foreign("nc.traditional"), "-q", "5", "127.0.0.1", "PORT"], b"hello\n")


@case("ncat")
def test_ncat():
    check_client([foreign("ncat"), "127.0.0.1", "PORT"])


@case("socat with -t10")
def test_socat():
    check_client([foreign("socat"), "-t10", "-", "TCP:127.0.0.1:PORT"])


@case("busybox nc")
def test_busybox():
    check_client([foreign("busybox"), "nc", "127.0.0.1", "PORT"])


@case("Perl's Net::Ping in stream mode")
def test_net_ping():
    script = """
        use Net::Ping;
        my $ping = Net::Ping->new("stream", 10);
        $ping->port_number($ARGV[0]);
        $ping->open("127.0.0.1") or die "open";
        for (1 .. 20) { $ping->ping("127.0.0.1") or die "ping $_" }
        print "all came back";
    """
    perl = foreign("perl")
    if not os.path.exists("/etc/protocols"):
        raise Skip("Net::Ping looks up tcp in /etc/protocols, which netbase brings")
    with Echod() as echod:
        result = subprocess.run([perl, "-e", script, str(echod.port)], capture_output=True,
                                timeout=DEADLINE_S, check=False)
        assert result.stdout == b"all came back", result.stderr.decode()


@case("bash's /dev/tcp")
def test_bash():
    bash = foreign("bash")
    with Echod() as echod:
        script = (f"exec 3<>/dev/tcp/127.0.0.1/{echod.port}; echo hello >&3; "
                  "read -r line <&3; echo $line")
        result = subprocess.run([bash, "-c", script], capture_output=True, timeout=DEADLINE_S,
                                check=False)
        assert result.stdout == b"hello\n", result.stderr.decode()


main()
