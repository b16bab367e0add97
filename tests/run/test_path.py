#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The options of the path: what a connection carries, seen from the peer or the socket itself."""
import contextlib
import re
import socket
import subprocess
import threading

from harness import (DEADLINE_S, Skip, case, foreign, main, program, run_echoctl, unused_address,
                     wait_until)
from harness_peers import Peer, echo, events

MPTCP = 262
COMMANDS = (["send"], ["ping", "-c", "1"], ["check"], ["halfclose", "--hold", "0"], ["trace"],
            ["sweep", "-s", "1", "-p", "zeros"], ["load", "-n", "1", "-c", "1"],
            ["idle", "--max", "20ms"])


def refuse(phrase, *arguments):
    result = run_echoctl("trace", *arguments)
    assert result.returncode == 3 and phrase in result.stderr.decode(), result


@case("every command that connects does so from the source address")
def test_source():
    for command in COMMANDS:
        seen = set()

        def handle(connection):
            seen.add(connection.getpeername()[0])
            echo(connection)

        with Peer(handle) as peer:
            result = run_echoctl(*command, "--source", "127.0.0.9", peer.address)
        assert result.returncode == 0 and seen == {"127.0.0.9"}, (result, seen)


@case("one connection after the other comes from the source port")
def test_source_port():
    seen = []

    def handle(connection):
        seen.append(connection.getpeername())
        echo(connection)

    with socket.create_server(("127.0.0.8", 0)) as reserved:
        port = reserved.getsockname()[1]
    with Peer(handle) as peer:
        for source in ("127.0.0.8", "127.0.0.7"):
            result = run_echoctl("trace", "-S", source, "--source-port", str(port), peer.address)
            assert result.returncode == 0, result
    assert seen == [("127.0.0.8", port), ("127.0.0.7", port)], seen
    refuse("--source-port 0: out of range", "--source-port", "0", "127.0.0.1:1")


HEADERS = (
    ("v1", r"PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 {0} {1}\r\n"),
    ("v1,192.0.2.7:9", r"PROXY TCP4 192\.0\.2\.7 127\.0\.0\.1 9 {1}\r\n"),
    ("v1,[2001:db8::7]", r"PROXY TCP6 2001:db8::7 :: 0 0\r\n"),
    ("v2", r"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01{2}{3}"),
    ("v2,2001:db8::7", r"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24\x20\x01\x0d\xb8"
                       r"\0{{11}}\x07\0{{16}}\0\0\0\0"))


def announced(value, pattern, *command):
    """Whether the header of each connection is there, once, and the echo verified."""
    wrong = []

    def handle(connection):
        (_, port), (_, ours) = connection.getpeername(), connection.getsockname()
        expected = re.compile(pattern.format(port, ours, *(
            re.escape(number.to_bytes(2, "big").decode("latin1")) for number in (port, ours))))
        seen = b""
        while not expected.match(seen.decode("latin1")):
            more = connection.recv(1)
            if not more:
                wrong.append(seen)
                return
            seen += more
        echo(connection)

    with Peer(handle) as peer:
        result = run_echoctl(*command, "--proxy", value, peer.address)
    assert result.returncode == 0 and not wrong, (result, wrong)


@case("every command that connects puts the header of --proxy in front, once")
def test_proxy():
    for value, pattern in HEADERS:
        announced(value, pattern, "trace")
    for command in (*COMMANDS, ["ping", "-c", "2", "-i", "10ms", "--reconnect"],
                    ["load", "-n", "5", "-c", "2", "--reconnect"]):
        announced(*HEADERS[0], *command)
    for wrong in ("", "v", "v3", "v1x", "v1,", "v1,example.org", "v2,*:7", "v2,unix:/x",
                  "v1,192.0.2.7:65536"):
        refuse(f"--proxy {wrong}: ", "--proxy", wrong, "127.0.0.1:1")
    refuse("--proxy v1: a Unix socket is reached from no address", "--proxy", "v1", "unix:/x")


@case("every command says so if an echo begins with a PROXY header")
def test_announced_unasked():
    for header in (b"PROXY TCP4 192.0.2.7 127.0.0.1 9 7\r\n",
                   b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)):
        def handle(connection, header=header):
            connection.sendall(header)
            echo(connection)
        for command in COMMANDS:
            with Peer(handle) as peer:
                result = run_echoctl(*command, "--deadline", "5s", peer.address)
            assert result.returncode != 0, (command, result)
            assert result.stderr.count(b"the echo begins with a PROXY header") == 1, (
                command, result)


@contextlib.contextmanager
def held(*arguments):
    """What ss(8) tells of a connection of echoctl while its peer returns nothing."""
    taken, free = threading.Event(), threading.Event()

    def handle(connection):
        taken.set()
        free.wait(DEADLINE_S)
        echo(connection)

    with Peer(handle) as peer:
        with subprocess.Popen([program("echoctl"), "trace", *arguments, peer.address],
                              stdout=subprocess.DEVNULL) as client:
            assert taken.wait(DEADLINE_S)
            port = peer.address.rpartition(":")[2]
            yield lambda: subprocess.run(
                [foreign("ss"), "-Hntip", "--tos", f"dport = :{port}"], capture_output=True,
                text=True, timeout=DEADLINE_S, check=True).stdout
            free.set()
            assert client.wait(DEADLINE_S) == 0


@case("the socket has the type of service, the segment size and the algorithm that were asked for")
def test_socket():
    foreign("ss")
    for tos, byte in (("EF", "0xb8"), ("af41", "0x88"), ("CS5", "0xa0"), ("0x28", "0x28"),
                      ("LE", "0x4"), ("va", "0xb0")):
        with held("--tos", tos, "--mss", "700", "--congestion", "reno") as look:
            wait_until(lambda: f"tos:{byte}" in look() and " reno " in look(), "the options")
            assert any(f" mss:{mss} " in look() for mss in (700, 688)), look()


@case("packets have the hop limit and go through the interface that was named")
def test_ttl():
    def handle(connection):
        echo(connection)

    with Peer(handle) as peer:
        result = run_echoctl("trace", "--ttl", "1", "--interface", "lo", peer.address)
        assert result.returncode == 0, result
        # What arrives with fewer hops than the peer asks for is dropped (RFC 5082).
        peer.listener.setsockopt(socket.IPPROTO_IP, 21, 200)    # IP_MINTTL
        for ttl, status in (("201", 0), ("199", 2)):
            result = run_echoctl("trace", "--ttl", ttl, "--connect-timeout", "300ms",
                                 peer.address)
            assert result.returncode == status, result


@case("a value that nothing can be made of is wrong usage, in the kernel's words")
def test_refused():
    address = unused_address()
    refuse("--tos EG: not a type of service", "--tos", "EG", address)
    for wrong in ("AF51", "AF44", "CS8", "AF4", "EF1", "-1"):
        refuse("--tos", "--tos", wrong, address)
    for wrong in ("256", "0x1b8", "4294967295"):
        refuse(f"--tos {wrong}: out of range", "--tos", wrong, address)
    refuse("--ttl 256: Invalid argument", "--ttl", "256", address)
    refuse("--mss 1: Invalid argument", "--mss", "1", address)
    refuse("--mark many: not a number", "--mark", "many", address)
    refuse("--congestion none: the kernel has none of that name", "--congestion", "none", address)
    refuse("--interface none0: No such device", "--interface", "none0", address)
    refuse("--source localhost: not a numeric address", "-S", "localhost", address)
    refuse("--tos EF: a Unix socket is reached from no", "--tos", "EF", "unix:/none")
    assert run_echoctl("check", "-S", "::1", "unix:/none").returncode == 3
    for option in (("--mss", "600"), ("--congestion", "cubic"), ("--mptcp",)):
        result = run_echoctl("ping", "-u", *option, address)
        assert result.returncode == 3 and f"{option[0]}: UDP has".encode() in result.stderr, result
    result = run_echoctl("status", "--tos", "EF")
    assert result.returncode == 3 and b"--tos: no such option" in result.stderr, result


@case("trace --mptcp tells Multipath TCP from a fallback")
def test_mptcp():
    try:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
    except OSError as error:
        raise Skip("the kernel has no MPTCP") from error
    with Peer(echo) as peer, listener:
        plain = run_echoctl("--json", "trace", peer.address)
        fallback = run_echoctl("--json", "trace", "--mptcp", peer.address)
        text = run_echoctl("trace", "--mptcp", peer.address)
        threading.Thread(target=lambda: echo(listener.accept()[0]), daemon=True).start()
        both = run_echoctl("--json", "trace", "--mptcp",
                           "127.0.0.1:%d" % listener.getsockname()[1])
    results = [events(result, "trace_summary")[0]["mptcp_info"]
               for result in (plain, fallback, both)]
    assert results[0] is None and results[1]["fallback"] is True, results
    assert results[2]["fallback"] is False and results[2]["more_subflows"] == 0, results
    assert b"mptcp-info   fell back to TCP\n" in text.stdout, text


main()
