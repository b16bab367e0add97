#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The UDP half of RFC 862: what comes back, from where, what gets no answer, and who goes on."""
import contextlib
import errno
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

from harness import (DEADLINE_S, Echod, Skip, case, child_pids, connect_to, descriptors, exchange,
                     is_zombie, main, process_stat, program, random_bytes, read_exactly,
                     render_settings, run_echoctl, status_fields, temporary_directory, wait_until)
from harness_calls import Calls
from harness_datagram import Node, link

EVERYBODY = {"allow": ["0.0.0.0/0", "::/0"]}
UDP_SEGMENT, UDP_GRO = 103, 104     # linux/udp.h
MAX_IPV4, MAX_IPV6 = 65507, 65527


def split(address):
    """Host and port of an address as the log has it."""
    host, _, port = address.removeprefix("udp:").rpartition(":")
    return host.strip("[]"), int(port)


def client(host="127.0.0.1", **options):
    """A socket that waits no longer than a test does."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(DEADLINE_S)
    sock.bind((options.get("source", host), options.get("port", 0)))
    return sock


def ask(sock, data, to):
    """Sends one and returns its answer and where that came from."""
    sock.sendto(data, to)
    answer, source = sock.recvfrom(1 << 16)
    return answer, source[:2]


def is_answered(sock, to):
    """Whether an answer comes within the timeout of the socket."""
    with contextlib.suppress(TimeoutError):
        return bool(ask(sock, b"x", to))
    return False


def status(echod):
    """What echoctl says of it."""
    result = run_echoctl("--control", os.path.join(echod.folder, "control"), "--json", "status")
    return json.loads(result.stdout)


def counters(echod):
    """The datagrams object of the status."""
    return status(echod)["datagrams"]


def connections(echod):
    """The one of connections."""
    return status(echod)["connections"]


def metrics(echod):
    """The text of the metrics."""
    control = os.path.join(echod.folder, "control")
    return run_echoctl("--control", control, "metrics").stdout.decode()


def settled(echod, received):
    """The same when so many have come and all of them are counted as answered or dropped."""
    def seen():
        now = counters(echod)
        judged = now["sent"] + sum(now["dropped"].values())
        return now if now["received"] == judged == received else None
    return wait_until(seen, f"{received} datagrams are counted")


def wait_dropped(echod, reason, count):
    """Waits until exactly so many were dropped for this reason."""
    wait_until(lambda: counters(echod)["dropped"][reason] == count, f"{count} x {reason}")


def process(echod):
    """The datagram process: the one child of the listener when there is no connection."""
    (pid,) = wait_until(lambda: child_pids(echod.listener_pid), "the datagram process runs")
    return pid


@contextlib.contextmanager
def stopped(pid):
    """It stands still meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: process_stat(pid)[1] == "T", "it stands still")
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@case("every size comes back whole, an empty one too, from the address that was asked")
def test_sizes():
    with Echod(listen=("udp:127.0.0.1:0", "udp:[::1]:0")) as echod:
        for address, most in zip(echod.addresses, (MAX_IPV4, MAX_IPV6)):
            to = split(address)
            with client(to[0]) as sock:
                for size in (0, 1, 24, 1472, 1473, 2048, 4096, 8192, 32768, most):
                    data = random_bytes(size)
                    assert ask(sock, data, to) == (data, to), (address, size)
        seen = settled(echod, 20)
        assert not any(seen["dropped"].values()) and seen["kernel_dropped"] == 0
        wait_until(lambda: counters(echod)["bytes_out"] == seen["bytes_in"], "bytes are counted")


@case("a burst stays as many datagrams as were sent")
def test_burst():
    with Echod(listen=("udp:127.0.0.1:0",)) as echod, client() as sock:
        burst = [random_bytes(size) for size in (64, 64, 0, 1400)]
        with stopped(process(echod)):
            for data in burst:
                sock.sendto(data, split(echod.address))
        assert [sock.recv(1 << 16) for _ in burst] == burst


@case("TCP and UDP have the same port, and several answer at a time")
def test_beside_tcp():
    with Echod() as tcp:
        with Echod(listen=(tcp.address.replace(str(tcp.port), "0"), f"udp:127.0.0.1:{tcp.port}",
                           "udp:127.0.0.3:0")) as echod:
            for address in echod.addresses[1:]:
                to = split(address)
                with client() as sock:
                    assert ask(sock, b"datagram", to) == (b"datagram", to)
            assert exchange(echod.connect(0), b"stream") == b"stream"


@case("a wildcard answers from the address that was asked, over IPv4 and IPv6")
def test_wildcard():
    with Echod({"access": EVERYBODY}, listen=("udp:*:0",)) as echod:
        _, port = split(echod.address)
        for host in ("127.0.0.1", "127.0.0.2", "127.9.9.9", "::1"):
            with client("::1" if ":" in host else "127.0.0.1") as sock:
                assert ask(sock, b"x", (host, port)) == (b"x", (host, port))


def receive_class(sock, level, option):
    """The type of service of the next datagram."""
    _, ancillary, _, _ = sock.recvmsg(100, 200)
    values = [data[0] for kind, name, data in ancillary if (kind, name) == (level, option)]
    return values[0] if values else 0


def classes_of(echod, host):
    """The type of service that goes, and the one that comes back."""
    ipv6 = ":" in host
    level, sent, received, wanted = (
        (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, socket.IPV6_TCLASS, socket.IPV6_RECVTCLASS)
        if ipv6 else (socket.IPPROTO_IP, socket.IP_TOS, socket.IP_TOS, 13))    # IP_RECVTOS
    with client("::1" if ipv6 else "127.0.0.1") as sock:
        sock.setsockopt(level, wanted, 1)
        for value in (0, 1, 2, 3, 0xb8, 0xb9, 0xfc):
            sock.setsockopt(level, sent, value)
            sock.sendto(b"x", (host, split(echod.address)[1]))
            yield value, receive_class(sock, level, received)


@case("the type of service comes back with the bits of ECN, or as 0 if tos = zero")
def test_tos():
    for tos in ("mirror", "zero"):
        with Echod({"access": EVERYBODY, "udp": {"tos": tos}}, listen=("udp:*:0",)) as echod:
            for host in ("127.0.0.1", "::1"):
                for sent, received in classes_of(echod, host):
                    assert received == (sent if tos == "mirror" else 0), (host, tos, sent)


def send_merged(sock, data, segment, to):
    """Many datagrams in one call (udp(7), UDP_SEGMENT)."""
    control = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", segment))]
    sock.sendmsg([data], control, 0, to)


@case("what a sender has merged comes back in its pieces, with an uneven tail")
def test_merged():
    with Echod({"udp": {"rate-burst": 100, "rate-per-source": 1}},
               listen=("udp:127.0.0.1:0",)) as echod:
        to = split(echod.address)
        with client() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            for count, segment, tail in ((40, 1400, 700), (3, 100, 100)):
                data = random_bytes(count * segment + tail)
                try:
                    send_merged(sock, data, segment, to)
                except OSError as error:
                    raise Skip(f"UDP_SEGMENT: {error}") from error
                pieces = [sock.recv(1 << 16) for _ in range(count + 1)]
                assert [len(piece) for piece in pieces] == [segment] * count + [tail]
                assert b"".join(pieces) == data
            # 45 tokens of 100 are gone: of these the first ones come back
            send_merged(sock, random_bytes(60 * 10), 10, to)
            for _ in range(55):
                assert len(sock.recv(100)) == 10
            wait_dropped(echod, "rate-per-source", 5)
        assert settled(echod, 105)["sent"] == 100


@case("what came merged and is too large for the way back goes piece by piece")
def test_unmerged():
    with Node() as far, Node() as near:
        link(far, near, 0)
        near.run("ip", "route", "change", "192.0.2.0/30", "dev", "v0", "src", "192.0.2.2", "mtu",
                 "lock", "600")
        with Echod({"access": EVERYBODY}, listen=("udp:192.0.2.2:0",),
                   command=near.command()) as echod:
            with far.inside():
                sock = client("192.0.2.1")
            with sock:
                data = random_bytes(9 * 1400 + 700)
                try:
                    send_merged(sock, data, 1400, split(echod.address))
                except OSError as error:
                    raise Skip(f"UDP_SEGMENT: {error}") from error
                pieces = [sock.recv(1 << 16) for _ in range(10)]
            assert [len(piece) for piece in pieces] == [1400] * 9 + [700]
            assert b"".join(pieces) == data
            assert settled(echod, 10)["sent"] == 10
            assert "echod_datagrams_unmerged_total 1\n" in metrics(echod)


def low_client():
    """One that asks from a port that only root has."""
    for port in range(1023, 600, -1):
        try:
            return client(port=port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise Skip("all of them are in use")


@case("neither a port of ours nor a low one gets an answer, whatever comes from it")
def test_ports():
    with Echod(listen=("udp:127.0.0.1:0", "udp:127.0.0.2:0")) as echod:
        to = split(echod.addresses[0])
        with client(source="127.0.0.9", port=split(echod.addresses[1])[1]) as own, \
                client(source="127.0.0.9") as other:
            own.sendto(b"loop", to)
            assert ask(other, b"x", to)[0] == b"x"
        wait_dropped(echod, "port", 1)
        echod.wait_log(r"dropped peer=127\.0\.0\.9:\d+ reason=port protocol=udp count=1")
        with contextlib.suppress(PermissionError), low_client() as low:
            low.sendto(b"x", to)
            wait_dropped(echod, "port", 2)
    with Echod({"udp": {"min-source-port": 0}}, listen=("udp:127.0.0.1:0",)) as echod:
        with contextlib.suppress(PermissionError), low_client() as low:
            assert ask(low, b"x", split(echod.address))[0] == b"x"


def checksum(data):
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def forge(data, source, to):
    """Sends a datagram as if it came from source."""
    addresses = socket.inet_aton(source[0]), socket.inet_aton(to[0])
    udp = struct.pack("!HHHH", source[1], to[1], 8 + len(data), 0) + data
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, socket.IPPROTO_UDP, 0,
                       *addresses)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(head + udp, (to[0], 0))


@case("two echods that a forged datagram points at each other say nothing")
def test_loop():
    if os.geteuid() != 0:
        raise Skip("raw sockets are root's")
    with Echod(listen=("udp:127.0.0.1:0",)) as one:
        port = split(one.address)[1]
        with Echod(listen=(f"udp:127.0.0.2:{port}",)) as other:
            forge(b"for ever", split(other.address), split(one.address))
            wait_dropped(one, "port", 1)
            seen = counters(one), counters(other)
            assert [each["sent"] for each in seen] == [0, 0], seen
    # on other ports it is the rate that ends it
    with Echod({"udp": {"rate-per-source": 1, "rate-burst": 50}},
               listen=("udp:127.0.0.1:0",)) as one, Echod(listen=("udp:127.0.0.2:0",)) as other:
        forge(b"for a while", split(other.address), split(one.address))
        wait_dropped(one, "rate-per-source", 1)
        assert counters(other)["received"] <= 52


@case("what is sent to a broadcast or multicast address gets no answer")
def test_broadcast():
    with Echod({"access": EVERYBODY}, listen=("udp:*:0",)) as echod:
        _, port = split(echod.address)
        with client() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.sendto(b"to all", ("127.255.255.255", port))
            wait_dropped(echod, "broadcast", 1)
            assert ask(sock, b"to one", ("127.0.0.1", port))[0] == b"to one"


@case("nor does what is sent to a multicast address of IPv6")
def test_multicast():
    with Node() as node:
        node.run("ip", "link", "set", "lo", "multicast", "on")
        node.run("ip", "-6", "route", "add", "multicast", "ff01::/16", "dev", "lo", "table",
                 "local")
        with Echod({"access": EVERYBODY}, listen=("udp:*:0",), command=node.command()) as echod:
            _, port = split(echod.address)
            with node.inside():
                sock = client("::1")
            with sock:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, 1)   # lo
                sock.sendto(b"to all", ("ff01::1", port))
                wait_dropped(echod, "broadcast", 1)
                assert ask(sock, b"to one", ("::1", port)) == (b"to one", ("::1", port))


@case("nor is what is sent to the broadcast address of a network, before the options are set too")
def test_network_broadcast():
    with Node() as far, Node() as near:
        link(far, near, 0)
        far.run("ip", "route", "add", "default", "via", "192.0.2.2")
        with near.inside():
            passed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            passed.bind(("0.0.0.0", 0))
        with far.inside():
            sock = client("0.0.0.0")
        port = passed.getsockname()[1]
        with passed, sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            for host in ("192.0.2.3", "255.255.255.255", "192.0.2.2"):
                sock.sendto(b"early", (host, port))
            with passing(passed, {"access": EVERYBODY}, near.command()) as echod:
                assert sock.recvfrom(100) == (b"early", ("192.0.2.2", port))
                for host in ("192.0.2.3", "255.255.255.255"):
                    sock.sendto(b"late", (host, port))
                assert ask(sock, b"late", ("192.0.2.2", port))[0] == b"late"
                seen = settled(echod, 6)
                assert seen["sent"] == 2, seen
                assert (seen["dropped"]["broadcast"], seen["dropped"]["unsent"]) == (3, 1), seen


@case("the access lists hold, and the last peer of a reason is named with their number")
def test_access():
    with Echod({"access": {"allow": ["127.0.0.0/24"], "deny": ["127.0.0.3/32"]}},
               listen=("udp:127.0.0.1:0",)) as echod:
        to = split(echod.address)
        with client("127.0.0.3") as denied, client("127.0.1.1") as unknown, client() as allowed:
            denied.sendto(b"x", to)
            unknown.sendto(b"y", to)
            assert ask(allowed, b"z", to) == (b"z", to)
            wait_dropped(echod, "access", 2)
            name = "%s:%d" % unknown.getsockname()
        echod.signal(signal.SIGTERM)
        assert echod.wait() == 0
        dropped = re.compile(r"dropped peer=\S+ reason=access protocol=udp count=(\d)$")
        wait_until(lambda: sum(int(match[1]) for match in map(dropped.search, echod.log())
                               if match) == 2, "both are told, the last one at the end")
        assert any(f"dropped peer={name} reason=access" in line for line in echod.log())
        echod.wait_log(r"datagrams local=udp:127\.0\.0\.1:\d+ in=3 out=1 bytes-in=3 bytes-out=1 "
                       r"dropped=2")


@case("the rates of a source and of all together bound what is answered")
def test_rates():
    with Echod({"udp": {"rate-per-source": 1, "rate-burst": 5, "rate": 8}},
               listen=("udp:127.0.0.1:0",)) as echod:
        to = split(echod.address)
        # before it runs again time passes, and with it a token or two
        with client("127.0.0.5") as loud, client("127.0.0.6") as other, stopped(process(echod)):
            for _ in range(9):
                loud.sendto(b"x", to)
                other.sendto(b"y", to)
        seen = settled(echod, 18)
        assert 8 <= seen["sent"] <= 9, seen
        assert seen["dropped"]["rate-per-source"] > 0 and seen["dropped"]["rate"] > 0, seen


@case("without an allow list an address beyond loopback is an error, and a passed one is mute")
def test_open():
    with temporary_directory() as folder:
        path = os.path.join(folder, "echod.conf")
        for listen, wrong in (("udp:0.0.0.0:7", True), ("udp:*:7", True), ("udp:[::]:7", True),
                              ("udp:localhost:7", False), ("udp:127.0.0.2:7", False)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(render_settings({"listen": [listen], "user": "nobody"}))
            by_file = test_settings("-c", path)
            with open(path, "w", encoding="utf-8") as file:
                file.write(render_settings({"user": "nobody"}))
            by_option = test_settings("-c", path, "-l", listen)
            for code, text in (by_file, by_option):
                assert code == (78 if wrong else 0), (listen, text)
                assert ("needs access { allow }" in text) == wrong, (listen, text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as passed, client() as sock:
        passed.bind(("0.0.0.0", 0))
        with passing(passed) as echod:
            echod.wait_log(r"udp:0\.0\.0\.0:\d+: every datagram is dropped: .*access \{ allow \}")
            sock.sendto(b"x", ("127.0.0.1", passed.getsockname()[1]))
            wait_dropped(echod, "access", 1)
            echod.reload({"access": EVERYBODY})
            sock.settimeout(0.1)
            # the process of before takes some yet
            wait_until(lambda: is_answered(sock, ("127.0.0.1", passed.getsockname()[1])),
                       "it is answered")


def test_settings(*arguments):
    """Exit status and standard error of echod -t."""
    result = subprocess.run([program("echod"), "-t", *arguments], capture_output=True, text=True,
                            check=False)
    return result.returncode, result.stderr


def passing(sock, settings=None, command=()):
    """echod with a socket passed as systemd does (sd_listen_fds(3))."""
    shell = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&"$PASSED"'
    return Echod(settings, listen=(), command=(*command, "/bin/sh", "-c", shell, "sh"),
                 env={"PASSED": str(sock.fileno())}, pass_fds=[sock.fileno()])


@case("a passed socket is served from a network namespace of its own")
def test_passed():
    if os.geteuid() != 0:
        raise Skip("network namespaces are root's")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as passed:
        passed.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        passed.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        passed.bind(("::", 0))
        port = passed.getsockname()[1]
        with passing(passed, {"access": EVERYBODY}, ("unshare", "-n")):
            for host in ("127.0.0.1", "127.0.0.2", "::1"):
                with client("::1" if ":" in host else "127.0.0.1") as sock:
                    assert ask(sock, b"x", (host, port)) == (b"x", (host, port))
            assert passed.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) == 0


@case("reloads under load lose and double nothing")
def test_reload():
    settings = {"udp": {"rate-per-source": 0}}
    with Echod(settings, listen=("udp:127.0.0.1:0",)) as echod, client() as sock:
        sock.connect(split(echod.address))
        sent, seen = 0, set()
        for _ in range(5):
            mark = echod.reload(settings)
            is_over = False
            while not is_over:
                # and some after the end of the old one
                is_over = any("new settings are in force" in line for line in echod.log()[mark:]) \
                    and len(child_pids(echod.pid)) == 1
                for _ in range(16):
                    sock.send(struct.pack("=Q", sent))
                    sent += 1
                for _ in range(16):
                    number = struct.unpack("=Q", sock.recv(100))[0]
                    assert number not in seen, "doubled"
                    seen.add(number)
        assert len(seen) == sent
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            raise AssertionError(f"one too many: {sock.recv(100)}")
        assert settled(echod, sent)["sent"] == sent


@case("a stop answers what has come before it")
def test_stop():
    with Echod(listen=("udp:127.0.0.1:0",)) as echod, client() as sock:
        to, pid = split(echod.address), process(echod)
        with stopped(pid):
            for number in range(100):
                sock.sendto(b"%d" % number, to)
            listener = echod.listener_pid
            held = len(descriptors(listener))
            echod.signal(signal.SIGTERM)
            wait_until(lambda: len(descriptors(listener)) < held - 1, "it is told to end")
        assert [sock.recv(100) for _ in range(100)] == [b"%d" % number for number in range(100)]
        assert echod.wait() == 0
        echod.wait_log(r"datagrams local=\S+ in=100 out=100 ")


@case("a datagram process that is killed is replaced, and TCP does not notice")
def test_killed():
    with Echod(listen=("udp:127.0.0.1:0", "127.0.0.1:0")) as echod, client() as sock:
        to = split(echod.addresses[0])
        assert ask(sock, b"before", to)[0] == b"before"
        settled(echod, 1)
        victim = process(echod)
        with connect_to(echod.addresses[1]) as stream:
            os.kill(victim, signal.SIGKILL)
            echod.wait_log(rf"datagram process {victim} was killed by signal 9")
            assert ask(sock, b"after", to)[0] == b"after"
            assert exchange(stream, b"still there") == b"still there"
        echod.wait_workers(1)
        assert process(echod) != victim
        seen = settled(echod, 2)
        assert (seen["sent"], seen["restarts"]) == (2, 1), seen
        assert "echod_datagram_restarts_total 1\n" in metrics(echod)


class Killer(Calls):
    """Kills the first process that wants to answer."""

    def __init__(self):
        super().__init__("sendmmsg")
        self.victim = 0

    def decide(self, _name, pid, _arguments):
        if not self.victim:
            self.victim = pid
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not process_stat(pid) or is_zombie(pid), "it has not answered")
        return 0


@case("what a process that is killed had taken is counted as not answered")
def test_killed_in_turn():
    killer = Killer()
    with contextlib.closing(killer), client() as sock, \
            Echod(listen=("udp:127.0.0.1:0",), preexec_fn=killer.install, wait=False) as echod:
        killer.serve()
        to = split(echod.wait_listening()[0])
        sock.sendto(b"lost", to)
        echod.wait_log("datagram process .* was killed by signal 9")
        assert ask(sock, b"x", to)[0] == b"x"
        seen = settled(echod, 2)
        assert (seen["sent"], seen["dropped"]["unsent"]) == (1, 1), seen
        assert killer.victim != process(echod)


@case("when a listener is killed its datagram process ends, and the next one answers")
def test_listener_killed():
    with Echod(listen=("udp:127.0.0.1:0",)) as echod, client() as sock:
        old = process(echod)
        os.kill(echod.listener_pid, signal.SIGKILL)
        assert ask(sock, b"x", split(echod.address))[0] == b"x"
        wait_until(lambda: not process_stat(old), "the old one has ended")
        assert ask(sock, b"y", split(echod.address))[0] == b"y"


def confined(echod):
    """The datagram process when it cannot get out any more."""
    pid = process(echod)
    wait_until(lambda: int(status_fields(pid).get("Seccomp_filters", "2")) >= 2, "its filter")
    return pid


@case("one that does not end is killed, after a reload too: what TCP serves goes on")
def test_disobedient():
    with Echod(listen=("udp:127.0.0.1:0", "127.0.0.1:0")) as echod:
        old = confined(echod)
        with stopped(old), connect_to(echod.addresses[1]) as stream, client() as sock:
            stream.sendall(b"before")
            assert read_exactly(stream, 6) == b"before"
            mark = echod.reload()
            echod.wait_log(f"datagram process {old} hangs, it is killed", since=mark)
            echod.wait_log("left its connections behind, they go on: 1", since=mark)
            wait_until(lambda: not process_stat(old), "it is gone")
            assert exchange(stream, b"after") == b"after"
            assert ask(sock, b"x", split(echod.addresses[0]))[0] == b"x"
        echod.closed_connections(1, since=mark)


@case("one that reads nothing any more is replaced, with its listener: TCP goes on")
def test_hangs():
    with Echod(listen=("udp:127.0.0.1:0", "127.0.0.1:0")) as echod:
        old, to = confined(echod), split(echod.addresses[0])
        with stopped(old), connect_to(echod.addresses[1]) as stream, client() as sock:
            stream.sendall(b"before")
            assert read_exactly(stream, 6) == b"before"
            sock.sendto(b"waits", to)
            # four looks, ten seconds apart
            echod.wait_log(f"datagram process {old} hangs, it is killed", deadline_s=90)
            assert sock.recv(100) == b"waits"
            assert exchange(stream, b"after") == b"after"
            assert exchange(echod.connect(1), b"new") == b"new"


@case("it does not outlive its listener, nor the daemon, whatever it does")
def test_outlives_nobody():
    with Echod({"timeouts": {"drain": 0}}, listen=("udp:127.0.0.1:0",)) as echod:
        first = confined(echod)
        with stopped(first):
            os.kill(echod.listener_pid, signal.SIGKILL)
            wait_until(lambda: not process_stat(first), "it is gone")
        wait_until(lambda: child_pids(echod.pid), "the next listener")
        second = confined(echod)
        with stopped(second):
            echod.signal(signal.SIGTERM)
            assert echod.wait() == 0
            wait_until(lambda: not process_stat(second), "it is gone")


def read(pid, name):
    """The text of this file of a process in /proc."""
    with open(f"/proc/{pid}/{name}", encoding="utf-8") as file:
        return file.read()


@case("the process holds its sockets and a pipe, and has a filter of its own")
def test_holds():
    with Echod(listen=("udp:127.0.0.1:0", "127.0.0.1:0", "udp:[::1]:0")) as echod:
        pid = process(echod)
        wait_until(lambda: sorted(name.split(":")[0] for name in descriptors(pid).values()) ==
                   ["pipe", "socket", "socket"], "it has closed the others")
        wait_until(lambda: int(status_fields(pid).get("Seccomp_filters", "2")) >= 2, "its filter")
        wait_until(lambda: re.search(r"^Max processes +0 +0 ", read(pid, "limits"), re.MULTILINE),
                   "it has no room for a process")
        maps = read(pid, "maps").splitlines()
        shared = [line for line in maps if re.search("echod-(slots|commands)", line)]
        assert echod.addresses[1] and len(shared) <= 2
        table = [int(line.split()[2], 16) for line in maps if "echod-table" in line]
        assert len(table) == 1 and table[0] > 0, "its counters, behind the table, and only these"


@case("an answer that cannot go stops no other one")
def test_unreachable():
    with Node() as node:
        node.run("ip", "address", "add", "192.0.2.1/24", "dev", "lo")
        node.run("sh", "-c", "echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter")
        with Echod({"access": EVERYBODY}, listen=("udp:192.0.2.1:0",),
                   command=node.command()) as echod, node.inside():
            to = split(echod.address)
            with client("192.0.2.1") as sock, stopped(process(echod)):
                sock.sendto(b"first", to)
                forge(b"lost", ("192.0.2.77", 4000), to)
                sock.sendto(b"second", to)
                node.run("ip", "route", "add", "unreachable", "192.0.2.77")
                sock.sendto(b"third", to)
                os.kill(process(echod), signal.SIGCONT)
                assert [sock.recv(100) for _ in range(3)] == [b"first", b"second", b"third"]
            wait_dropped(echod, "unsent", 1)
            echod.wait_log(r"dropped peer=192\.0\.2\.77:4000 reason=unsent")


@case("what finds the buffer full is counted and told, after the end of the socket too")
def test_kernel_drops():
    with Echod({"listen": ["udp:127.0.0.1:0"]}, listen=()) as echod, client() as sock:
        to = split(echod.address)
        with stopped(process(echod)):
            end = time.monotonic() + DEADLINE_S
            while counters(echod)["kernel_dropped"] == 0 and time.monotonic() < end:
                for _ in range(100):
                    sock.sendto(bytes(8192), to)
        seen = counters(echod)
        assert seen["kernel_dropped"] > 0
        assert f"echod_datagrams_kernel_dropped_total {seen['kernel_dropped']}" in metrics(echod)
        wait_until(lambda: is_answered(sock, to), "it goes on")
        echod.reload({"listen": ["127.0.0.1:0"]})
        echod.wait_log("no longer listening on udp:")
        assert counters(echod)["kernel_dropped"] >= seen["kernel_dropped"]


@contextlib.contextmanager
def flooding(to):
    """Two processes that send as fast as they can meanwhile, and take no answer."""
    code = ("import socket, sys\n"
            "sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "while True:\n"
            "    sock.sendto(bytes(64), (sys.argv[1], int(sys.argv[2])))\n")
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            sender = stack.enter_context(subprocess.Popen(
                [sys.executable, "-c", code, to[0], str(to[1])]))
            stack.callback(sender.kill)
        yield


@case("a flood stops neither accept nor fork nor reap")
def test_flood():
    with Echod({"udp": {"rate-per-source": 0}, "limits": {"connections": 4}},
               listen=("udp:127.0.0.1:0", "127.0.0.1:0")) as echod:
        with flooding(split(echod.addresses[0])):
            wait_until(lambda: counters(echod)["received"] > 10000, "it has begun")
            before = counters(echod)["received"]
            for number in range(100):   # more than there is room for, unless they are reaped
                data = random_bytes(1000)
                with connect_to(echod.addresses[1]) as stream:
                    assert exchange(stream, data) == data, number
            wait_until(lambda: connections(echod)["closed"]["fin"] == 100, "all are reaped")
            assert connections(echod)["accepted"] == 100
            wait_until(lambda: counters(echod)["received"] > before, "it goes on")


@case("inetd's way: datagrams of descriptor 0 until they stop coming")
def test_inetd():
    with client() as given, client() as sock:
        with Echod({"timeouts": {"idle": "300ms"}}, listen=(), options=("--inetd",),
                   wait=False, stdin=given) as echod:
            assert ask(sock, b"x", given.getsockname())[0] == b"x"
            assert ask(sock, b"y", given.getsockname())[0] == b"y"
            assert echod.wait() == 0
            echod.wait_log(r"datagrams local=udp:127\.0\.0\.1:\d+ in=2 out=2")
        with Echod(listen=(), options=("--inetd",), wait=False, stdin=given) as echod:
            assert ask(sock, b"x", given.getsockname())[0] == b"x"
            echod.signal(signal.SIGTERM)
            start = time.monotonic()
            assert echod.wait() == 0
            assert time.monotonic() - start < 10, "it waits for the drain time"


main()
