#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echoctl send: every byte, every way in which a server can fail, its streams and exit status."""
import os
import signal
import socket
import subprocess
import tempfile
import threading

from harness import (DEADLINE_S, Echod, case, child_pids, connect_to, is_zombie, main, program,
                     random_bytes, read_exactly, read_to_end, run_echoctl, temporary_directory,
                     unused_address, wait_until)
from harness_peers import Peer, echo, events, flip, full_backlog, swallow

MIB = 1 << 20


def send(*arguments, stdin=b""):
    """echoctl send to its end."""
    return run_echoctl("send", *arguments, stdin=stdin)


def check(result, status, *phrases):
    """The exit status, and what standard error has to say."""
    text = result.stderr.decode()
    assert result.returncode == status, (result.returncode, text)
    for phrase in phrases:
        assert phrase in text, (phrase, text)


def start(*arguments, **streams):
    """echoctl send, running."""
    streams.setdefault("stdin", subprocess.PIPE)
    streams.setdefault("stdout", subprocess.PIPE)
    return subprocess.Popen([program("echoctl"), "send", *arguments], stderr=subprocess.PIPE,
                            **streams)


@case("what comes back is what was sent, through echod")
def test_echod():
    data = random_bytes(5 * MIB)
    with Echod() as echod:
        for stdin in (b"", b"x", b"hello\n", data):
            result = send(echod.address, stdin=stdin)
            check(result, 0, f"{len(stdin)} bytes sent, {len(stdin)} received, verified")
            assert result.stdout == stdin
        assert run_echoctl(echod.address, stdin=b"no command\n").stdout == b"no command\n"
        assert run_echoctl("-q", echod.address, stdin=b"quiet\n").stderr == b""


@case("a server that reads 80 MiB before it returns a byte is no deadlock")
def test_late_echo():
    data = random_bytes(MIB) * 80

    def late(connection):
        connection.sendall(read_to_end(connection))

    with Peer(late) as peer, temporary_directory() as folder:
        path = os.path.join(folder, "data")
        with open(path, "wb") as file:
            file.write(data)
        with open(path, "rb") as file:
            result = subprocess.run([program("echoctl"), peer.address], stdin=file,
                                    capture_output=True, timeout=2 * DEADLINE_S, check=False)
    check(result, 0, "verified")
    assert result.stdout == data


@case("a slow reader on standard output does not hold up the verdict")
def test_slow_output():
    data = random_bytes(8 * MIB)
    with Peer(echo) as peer:
        client = start(peer.address)
        feeder = threading.Thread(target=lambda: (client.stdin.write(data), client.stdin.close()))
        feeder.start()
        parts = []
        while part := client.stdout.read(4001):
            parts.append(part)
        feeder.join()
        assert b"".join(parts) == data
        assert client.wait(DEADLINE_S) == 0
        client.stderr.close()


@case("early EOF ends a sender that is blocked on standard input")
def test_early_eof():
    def early(connection):
        connection.sendall(read_exactly(connection, 5))
        connection.shutdown(socket.SHUT_WR)

    with Peer(early) as peer:
        client = start(peer.address)
        client.stdin.write(b"0123456789")
        client.stdin.flush()
        # Standard input stays open: nothing but the server can end this.
        assert client.wait(DEADLINE_S) == 1
        assert b"early EOF after 5 of 10 bytes" in client.stderr.read()
        assert client.stdout.read() == b"01234"
        client.stdin.close()


@case("early EOF while the sender is blocked on the connection")
def test_early_eof_blocked():
    def early(connection):
        connection.sendall(read_exactly(connection, 5))
        connection.shutdown(socket.SHUT_WR)
        peer.hold(connection)

    def early_then_reset(connection):
        connection.sendall(read_exactly(connection, 5))
        connection.shutdown(socket.SHUT_WR)

    for handle in (early, early_then_reset):
        with Peer(handle) as peer, open("/dev/zero", "rb") as zeros:
            client = start(peer.address, stdin=zeros)
            assert client.wait(DEADLINE_S) == 1
            assert b"early EOF after 5 of " in client.stderr.read()


@case("the first difference is named by its offset")
def test_corrupt():
    data = random_bytes(3 * MIB)
    offset = 2 * MIB + 4711

    def corrupt(connection):
        connection.sendall(flip(read_to_end(connection), offset))

    with Peer(corrupt) as peer:
        check(send(peer.address, stdin=data), 1,
              f"differs at offset {offset}: sent 0x{data[offset]:02x}, "
              f"got 0x{data[offset] ^ 0x40:02x}", "not verified")
        check(send("--no-verify", peer.address, stdin=data), 0)


@case("so is one at the very end, with more in flight than is kept byte by byte")
def test_corrupt_tail():
    size = 260 * MIB + 5

    def corrupt(connection):
        while connection.recv(MIB):
            pass
        for _ in range(260):
            connection.sendall(bytes(MIB))
        connection.sendall(b"\0\0\0\0\1")
        if keeps:
            peer.hold(connection)

    with tempfile.TemporaryFile() as zeros, Peer(corrupt) as peer:
        zeros.truncate(size)
        for keeps in (False, True):
            zeros.seek(0)
            client = start("--drain-timeout", "2s", peer.address, stdin=zeros,
                           stdout=subprocess.DEVNULL)
            _, errors = client.communicate(timeout=2 * DEADLINE_S)
            assert client.returncode == 1 and b"within the 5 bytes" in errors, (keeps, errors)


@case("--no-verify: silence before the FIN is an error, too few bytes before it are none")
def test_no_verify():
    def no_fin(connection):
        echo(connection)
        peer.hold(connection)

    patience = ("--no-verify", "--drain-timeout", "2s")
    with Peer(None) as peer:
        peer.handle = peer.hold
        check(send(*patience, peer.address, stdin=b"abc"), 1, "no progress after 0 of 3 bytes",
              "not verified")
        check(send(*patience, "--no-fin", peer.address, stdin=b"abc"), 0, "not verified")
    with Peer(no_fin) as peer:
        check(send(*patience, peer.address, stdin=b"abc"), 1, "FIN swallowed: all 3 bytes")
    with Peer(swallow) as peer:
        check(send("--no-verify", peer.address, stdin=b"abc"), 0, "0 received, not verified")


@case("a byte left out and a byte too many are errors")
def test_count():
    with Peer(lambda connection: connection.sendall(read_to_end(connection)[:-1])) as peer:
        check(send(peer.address, stdin=b"abcdef"), 1, "early EOF after 5 of 6 bytes")
    with Peer(lambda connection: connection.sendall(read_to_end(connection) + b"!")) as peer:
        check(send(peer.address, stdin=b"abcdef"), 1,
              "more bytes than sent: got 0x21 at offset 6")
    with Peer(lambda connection: connection.sendall(b"welcome")) as peer:
        check(send(peer.address), 1, "more bytes than sent: got 0x77 at offset 0")


@case("silence after the FIN ends at the drain timeout")
def test_swallow():
    def silent(connection):
        swallow(connection)
        peer.hold(connection)

    def no_fin(connection):
        echo(connection)
        peer.hold(connection)

    with Peer(silent) as peer:
        check(send("--drain-timeout", "300ms", peer.address, stdin=b"abc"), 1,
              "no progress after 0 of 3 bytes")
    with Peer(no_fin) as peer:
        check(send("--drain-timeout", "2s", peer.address, stdin=b"abc"), 1,
              "FIN swallowed: all 3 bytes came back, but no EOF")
    with Peer(lambda connection: peer.hold(connection)) as peer, open("/dev/zero", "rb") as zeros:
        client = start("--drain-timeout", "300ms", peer.address, stdin=zeros)
        assert client.wait(DEADLINE_S) == 1
        assert b"no progress after 0 of " in client.stderr.read()


@case("--no-fin ends by silence, or by the server's FIN")
def test_no_fin():
    fin_seen = threading.Event()

    def watch(connection):
        connection.sendall(read_exactly(connection, 3))
        if connection.recv(1) == b"":
            fin_seen.set()

    with Peer(watch) as peer:
        result = send("--no-fin", "--drain-timeout", "2s", peer.address, stdin=b"abc")
        check(result, 0, "3 received, verified")
        assert result.stdout == b"abc"

    def close_after(connection):
        connection.sendall(read_exactly(connection, 3))

    with Peer(close_after) as peer, temporary_directory() as folder:
        path = os.path.join(folder, "input")
        with open(path, "wb") as file:
            file.write(b"abc")
        with open(path, "rb") as file:
            client = start("--no-fin", peer.address, stdin=file)
            _, errors = client.communicate(timeout=DEADLINE_S)
        assert client.returncode == 0 and b"3 received, verified" in errors, errors


@case("standard output that fails is a local error")
def test_output_errors():
    with Peer(echo) as peer:
        with open("/dev/full", "wb") as full:
            client = start(peer.address, stdout=full)
            _, errors = client.communicate(b"x" * MIB, DEADLINE_S)
            assert client.returncode == 4
            assert b"standard output: No space left on device" in errors
        for options in ((), ("--json",)):
            result = send("-o", "/dev/full", *options, peer.address, stdin=b"x")
            check(result, 4, "/dev/full: No space left on device")
            assert b"standard output" not in result.stderr + result.stdout, result
        client = start(peer.address)
        client.stdout.close()
        client.stdin.write(b"x")
        client.stdin.flush()
        assert client.wait(DEADLINE_S) == 4
        assert b"standard output: Broken pipe" in client.stderr.read()
        client.stdin.close()


@case("--repeat sends a file or a pipe over several connections")
def test_repeat():
    with Peer(echo) as peer:
        result = send("--repeat", "3", peer.address, stdin=b"again\n")
        check(result, 0)
        assert result.stdout == b"again\n" * 3
        assert peer.connections == 3
        with open(os.path.join(os.path.dirname(__file__), "harness.py"), "rb") as file:
            client = start("--repeat", "2", peer.address, stdin=file)
            output, _ = client.communicate(timeout=DEADLINE_S)
            file.seek(0)
            assert output == file.read() * 2
        with subprocess.Popen(["head", "-c", str(257 * MIB), "/dev/zero"],
                              stdout=subprocess.PIPE) as zeros:
            client = start("--repeat", "2", peer.address, stdin=zeros.stdout)
            zeros.stdout.close()
            _, errors = client.communicate(timeout=DEADLINE_S)
        assert client.returncode == 4 and b"more than 256 MiB" in errors, errors


@case("--json writes one object, --output keeps the echo")
def test_json():
    data = random_bytes(1000)
    with Peer(echo) as peer, temporary_directory() as folder:
        path = os.path.join(folder, "echo")
        result = run_echoctl("--json", "send", "-o", path, peer.address, stdin=data)
        assert result.returncode == 0
        with open(path, "rb") as file:
            assert file.read() == data
    (event,) = events(result)
    assert event["event"] == "send" and event["end"] == "ok" and event["verified"] is True
    assert event["bytes_sent"] == event["bytes_received"] == 1000
    assert 0 < event["first_byte_sent_ns"] <= event["duration_ns"]
    assert event["address"] == peer.address


@case("a target that is not reached: status 2, host, address and phase")
def test_unreached():
    port = int(unused_address().rpartition(":")[2])
    result = run_echoctl("--json", "send", "-4", f"localhost:{port}")
    check(result, 2, f"echoctl: localhost (127.0.0.1:{port}): connect: Connection refused")
    assert {"event": "error", "host": "localhost", "address": f"127.0.0.1:{port}",
            "phase": "connect", "errno": "ECONNREFUSED",
            "message": "Connection refused"} in events(result)
    check(send("-6", "127.0.0.1"), 2, "resolve: ")


@case("what fails at once is said at once")
def test_unreached_at_once():
    check(send("--connect-timeout", "1h", "unix:/nonexistent/socket"), 2,
          "echoctl: /nonexistent/socket: connect: No such file or directory")
    check(send("--connect-timeout", "1h", "-S", "192.0.2.1", unused_address()), 4,
          "socket: Cannot assign")


@case("a connect that gets no answer ends at --connect-timeout")
def test_connect_timeout():
    with full_backlog() as address:
        check(send("--connect-timeout", "300ms", address), 2, "connect: Connection timed out")


@case("Unix sockets, IPv6 and a source address")
def test_families():
    with temporary_directory() as folder, \
            Peer(echo, path=os.path.join(folder, "echo.sock")) as peer:
        assert send(peer.address, stdin=b"unix").stdout == b"unix"
    with Echod(listen=["[::1]:0"]) as echod:
        assert send(echod.address, stdin=b"six").stdout == b"six"

    def tell_peer(connection):
        address = connection.getpeername()[0].encode()
        read_to_end(connection)
        connection.sendall(address)

    with Peer(tell_peer) as peer:
        result = send("-S", "127.0.0.9", "--no-verify", peer.address, stdin=b"who?")
        assert result.stdout == b"127.0.0.9"


@case("SIGINT prints the summary and leaves no process")
def test_interrupt():
    with Peer(echo) as peer:
        client = start(peer.address)
        client.stdin.write(b"hello")
        client.stdin.flush()
        assert os.read(client.stdout.fileno(), 5) == b"hello"
        (sender,) = child_pids(client.pid)
        client.send_signal(signal.SIGINT)
        assert client.wait(DEADLINE_S) == 1
        errors = client.stderr.read()
        assert b"5 bytes sent, 5 received" in errors and b"interrupted" in errors
        wait_until(lambda: not os.path.exists(f"/proc/{sender}"), "the sender is gone")
        client.stdin.close()


@case("either process ends when the other is killed")
def test_killed():
    with Peer(echo) as peer:
        client = start(peer.address)
        (sender,) = wait_until(lambda: child_pids(client.pid), "the sender is there")
        os.kill(sender, signal.SIGKILL)
        assert client.wait(DEADLINE_S) == 4
        assert b"the sending process was ended" in client.stderr.read()
        client.stdin.close()
        client = start(peer.address)
        (sender,) = wait_until(lambda: child_pids(client.pid), "the sender is there")
        client.kill()
        client.wait(DEADLINE_S)
        wait_until(lambda: not os.path.exists(f"/proc/{sender}") or is_zombie(sender),
                   "the sender is gone")
        client.stdin.close()


@case("a FIN of the sender reaches the server as soon as the input ends")
def test_fin():
    ended = threading.Event()

    def watch(connection):
        data = read_to_end(connection)
        ended.set()
        connection.sendall(data)

    with Peer(watch) as peer:
        assert send(peer.address, stdin=b"tail without newline").returncode == 0
        assert ended.is_set()
        connect_to(peer.address).close()


main()
