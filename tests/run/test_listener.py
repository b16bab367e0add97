#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echod-listener without a supervisor: accept, limits, ends, accounting, its channel."""
import os
import signal
import socket
import struct

from harness import (Skip, case, descriptors, exchange, is_defined, is_zombie, main, process_stat,
                     random_bytes, read_to_end, wait_until)
from harness_listener import Listener, describe, echoed, settings_block
from harness_wire import WIRE

LOOPBACK = bytes(10) + b"\xff\xff\x7f\0\0\1"
PER_MESSAGE = 64
REQUIRED = WIRE.SETTINGS_FILTER | WIRE.SETTINGS_FILTER_REQUIRED


@case("every byte comes back and the end is accounted")
def test_echo():
    with Listener().ready() as listener:
        for size in (0, 1, 64, 65535, 65536, 65537, 3000000):
            data = random_bytes(size)
            assert exchange(listener.connect(), data) == data
            word, event = listener.closed()
            assert (word, event["bytes_in"], event["bytes_out"]) == ("fin", size, size), event
        totals = listener.totals()
        assert totals["accepted"] == totals["fin"] == 7 and totals["empty"] == 1, totals
        assert listener.is_balanced() and listener.live == 0


@case("IPv6 and Unix peers are described and served")
def test_families():
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    with Listener(families, idle=60).ready() as listener:
        for index, family in enumerate((4, 6, 1)):
            client = listener.connect(index)
            mine = client.getsockname()
            assert exchange(client, b"hello") == b"hello"
            event = listener.closed()[1]
            assert event["socket"] == index and event["peer"]["family"] == family, event
            if family == 1:
                credentials = struct.unpack_from("=2i", event["peer"]["address"])
                assert credentials == (os.getpid(), os.getuid()), event
            else:
                assert event["peer"]["port"] == mine[1]
                assert event["rtt_us"] > 0


@case("a wildcard socket names the address that was asked, IPv4-mapped as IPv4")
def test_wildcard():
    listening = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    with Listener(sockets=[listening]).ready() as listener:
        client = socket.create_connection(("127.0.0.1", listening.getsockname()[1]))
        assert exchange(client, b"x") == b"x"
        event = listener.closed()[1]
        for end in ("peer", "local"):
            assert event[end]["family"] == 4, event
            assert event[end]["address"][:4] == b"\x7f\0\0\1", event


@case("commands: drain and killed end a worker in an orderly way")
def test_commands():
    with Listener().ready() as listener:
        for command, word in ((WIRE.SLOT_END_DRAIN, "drain"),
                              (WIRE.SLOT_END_KILLED, "killed")):
            client = listener.connect()
            assert echoed(client)
            slot, pid = listener.worker()
            listener.command(slot, command, pid + 1)
            assert echoed(client), "what another process was told"
            listener.end(slot, command, client)
            assert read_to_end(client) == b""
            client.close()
            assert listener.closed()[0] == word


@case("a worker that is killed after it was told to drain has ended for that")
def test_killed_in_drain():
    with Listener().ready() as listener:
        for told, word in ((0, "drain"), (1, "killed")):
            client = listener.connect()
            assert echoed(client)
            slot, pid = listener.worker()
            os.kill(pid, signal.SIGSTOP)
            listener.command(slot, WIRE.SLOT_END_DRAIN, pid + told)
            os.kill(pid, signal.SIGKILL)
            assert listener.closed()[0] == word
            client.close()


@case("a reset, a kill and a crash have their own ends")
def test_ends():
    with Listener().ready() as listener:
        client = listener.connect()
        assert echoed(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("2i", 1, 0))
        client.close()
        assert listener.closed()[0] == "reset"
        for number, word in ((signal.SIGKILL, "killed"), (signal.SIGTERM, "killed"),
                             (signal.SIGABRT, "crashed")):
            client = listener.connect()
            assert echoed(client)
            pid = listener.worker()[1]
            os.kill(pid, number)
            found, event = listener.closed()
            assert (found, event["pid"], event["status"] & 0x7f) == (word, pid, number), event
            client.close()
        assert listener.is_balanced() and listener.live == 0


@case("at the limit the next connection waits and is then served")
def test_defer():
    with Listener(connections=2).ready() as listener:
        clients = [listener.connect() for _ in range(3)]
        assert echoed(clients[0]) and echoed(clients[1])
        clients[2].sendall(b"late")
        limit = listener.event(WIRE.EVENT_LIMIT)
        assert limit["count"] == 1 and limit["detail"] == 2 and listener.live == 2
        clients[0].close()
        assert listener.closed()[0] == "fin"
        assert clients[2].recv(4) == b"late"
        for client in clients[1:]:
            client.close()
            listener.closed()
        assert listener.event(WIRE.EVENT_LIMIT)["count"] == 0


@case("workers of other generations count for the limit")
def test_foreign():
    with Listener(connections=2).ready() as listener:
        listener.set_foreign_live(2)
        client = listener.connect()
        client.sendall(b"late")
        assert listener.event(WIRE.EVENT_LIMIT)["count"] == 1 and listener.live == 0
        listener.set_foreign_live(1)
        assert client.recv(4) == b"late"


@case("refusals: connections, connections-per-source, rate-per-source, access")
def test_refuse():
    cases = (({"connections": 1, "at_limit": WIRE.AT_LIMIT_REFUSE}, "connections", True),
             ({"connections_per_source": 1}, "connections-per-source", True),
             ({"rate_per_source": 1, "rate_burst": 1}, "rate-per-source", True),
             ({"rules": [(LOOPBACK, 128, 0), (LOOPBACK[:12] + bytes(4), 96, 1)]}, "access", False),
             ({"access_default_allow": 0}, "access", False))
    for keys, word, is_first_served in cases:
        with Listener(**keys).ready() as listener:
            # Both wait when it goes on: no token for the second comes in between.
            os.kill(listener.pid, signal.SIGSTOP)
            clients = [listener.connect() for _ in range(1 + is_first_served)]
            os.kill(listener.pid, signal.SIGCONT)
            if is_first_served:
                assert echoed(clients[0])
            assert read_to_end(clients[-1]) == b""
            assert listener.refused() == word
            assert listener.is_balanced()


@case("a source that has left may come again")
def test_source_leaves():
    with Listener(connections_per_source=1).ready() as listener:
        for _ in range(5):
            assert exchange(listener.connect(), b"x") == b"x"
            assert listener.closed()[0] == "fin"
        assert listener.totals()["refused"]["connections-per-source"] == 0


@case("stop: sockets closed, live workers go on, exit 0 after the last")
def test_stop():
    for how in ("message", "end of file"):
        with Listener().ready() as listener:
            client = listener.connect()
            assert echoed(client)
            if how == "message":
                listener.send(WIRE.MESSAGE_STOP)
                assert listener.message()[0] == WIRE.MESSAGE_STOPPED
            else:
                listener.channel.shutdown(socket.SHUT_WR)
            listener.sockets.pop().close()
            assert echoed(client)
            # which the listener counts after the fork: the echo may be there first
            wait_until(lambda found=listener: found.live == 1, "the connection is counted")
            assert exchange(client, b"tail") == b"tail"
            assert listener.wait() == 0
            listener.read_ring()
            assert listener.closed()[0] == "fin" and listener.is_balanced()


@case("a ping is answered with its value, also at the limit")
def test_ping():
    with Listener(connections=1).ready() as listener:
        for value in (7, 0xffffffff):
            listener.send(WIRE.MESSAGE_PING, value)
            assert listener.message()[:2] == (WIRE.MESSAGE_PONG, value)
            listener.connect()


@case("a start that fails says at what, and exits 1")
def test_failed_start():
    listening = Listener.listen(socket.AF_INET)
    described = [describe(listening)]
    good = settings_block(described)
    bad = ((settings_block(described, version=99), "settings of another version"),
           (settings_block(described, magic=1), "not a settings block"),
           (settings_block(described, source_prefix_ipv4=33), "source prefix out of range"),
           (good + b"x" * 8, "size of the block"))
    for block, text in bad:
        with Listener(sockets=[listening], block=block) as listener:
            assert listener.message() == (WIRE.MESSAGE_FAILED, 22, text)
            assert listener.wait() == 1
        listening = Listener.listen(socket.AF_INET)
    with Listener(sockets=[listening], seal=False) as listener:
        assert listener.message() == (WIRE.MESSAGE_FAILED, 1, "settings")
        assert listener.wait() == 1


@case("with a UDP socket it wants room for the counters of datagrams behind the table")
def test_datagram_counters():
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind(("127.0.0.1", 0))
    with Listener(sockets=[listening]) as listener:
        assert listener.message() == (WIRE.MESSAGE_FAILED, 22, "datagram counters")
        assert listener.wait() == 1


@case("a start that fails leaves to other listeners of its sockets the timeouts that they know")
def test_failed_start_timeouts():
    listening = Listener.listen(socket.AF_INET)
    before = listening.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)
    # a filter of an instruction that there is not, and it is required: the last step fails
    block = settings_block([describe(listening)], flags=REQUIRED, filters=(b"\xff" * 8, b""),
                           idle=40)
    with listening, Listener(sockets=[listening.dup()], block=block) as listener:
        assert listener.message() == (WIRE.MESSAGE_FAILED, 22, "seccomp filter")
        assert listener.wait() == 1
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            assert listening.getsockopt(socket.SOL_SOCKET, option, 16) == before
    with Listener(idle=40).ready() as listener:
        assert listener.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16) != before


@case("a worker holds its connection and nothing else, and does not map the table")
def test_isolation():
    with Listener().ready() as listener:
        client = listener.connect()
        assert echoed(client)
        pid = listener.worker()[1]
        held = descriptors(pid)
        assert list(held) == [0] and "socket" in held[0], held
        with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
            maps = file.read()
        assert "test-slots" in maps and "test-table" not in maps, maps
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            status = dict(line.split(":\t", 1) for line in file.read().splitlines())
        assert status["NoNewPrivs"].strip() == "1" and int(status["CapEff"], 16) == 0
        assert process_stat(pid)[0] == "echod-listener"


def status_of(pid):
    """/proc/PID/status as a dictionary."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return dict(line.split(":\t", 1) for line in file.read().splitlines())


@case("filters: the listener's is inherited, the narrower one is a worker's own")
def test_filters():
    allow_all = struct.pack("=HBBI", 6, 0, 0, 0x7fff0000)
    for flags, count in ((0, 0), (REQUIRED, 1), (REQUIRED | WIRE.SETTINGS_WORKER_FILTER, 2)):
        with Listener(flags=flags, filters=(allow_all, allow_all)).ready() as listener:
            client = listener.connect()
            assert echoed(client)
            pid = listener.worker()[1]
            base = int(status_of(os.getpid())["Seccomp_filters"])
            assert int(status_of(listener.pid)["Seccomp_filters"]) == base + min(count, 1)
            assert int(status_of(pid)["Seccomp_filters"]) == base + count
            with open(f"/proc/{pid}/limits", encoding="utf-8") as file:
                limits = file.read()
            # counters of coverage are written to files
            for limit in ("Max core file size", "Max file size")[:1 + (not is_defined("COVERAGE"))]:
                assert next(line for line in limits.splitlines()
                            if line.startswith(limit)).split()[-3:-1] == ["0", "0"], limits


@case("a full ring drops events, is counted, and stops nothing")
def test_full_ring():
    with Listener(connections=4200).ready() as listener:    # no event of the limit, however late
        for _ in range(4200):
            assert exchange(listener.connect(), b"x") == b"x"
        # an event is put, or dropped, after its end has been counted
        wait_until(lambda: listener.totals()["events_dropped"] == 4200 - 4096, "all accounted")
        assert listener.totals()["fin"] == 4200


@case("thousands of short connections: all accounted, no zombie")
def test_many():
    with Listener(connections=8).ready() as listener:
        for _ in range(250):
            clients = [listener.connect() for _ in range(8)]
            for client in clients:
                client.send(b"x" * PER_MESSAGE)
            for client in clients:
                client.shutdown(socket.SHUT_WR)
                assert len(read_to_end(client)) == PER_MESSAGE
                client.close()
            listener.read_ring()
        wait_until(lambda: listener.totals()["fin"] == 2000 and listener.live == 0, "all reaped")
        totals = listener.totals()
        assert totals["accepted"] == totals["fin"] == 2000 and listener.is_balanced(), totals
        assert not any(is_zombie(pid) for pid in listener.pids())


@case("a listening socket that breaks is reported and does not make the loop spin")
def test_broken_socket():
    with Listener().ready() as listener:
        assert exchange(listener.connect(), b"x") == b"x"
        listener.sockets[0].shutdown(socket.SHUT_RDWR)
        assert listener.event(WIRE.EVENT_STARVED)["detail"] == 22
        listener.send(WIRE.MESSAGE_PING, 5)
        assert listener.message()[1] == 5
        before = listener.totals()["starved"]
        listener.event(WIRE.EVENT_STARVED)
        assert listener.totals()["starved"] - before < 100


@case("opened is reported when it was asked for")
def test_opened():
    with Listener(flags=WIRE.SETTINGS_REPORT_OPEN).ready() as listener:
        assert exchange(listener.connect(), b"x") == b"x"
        opened, closed = listener.event(WIRE.EVENT_OPENED), listener.closed()[1]
        assert (opened["id"], opened["pid"]) == (closed["id"], closed["pid"]) == (1, closed["pid"])


@case("one connection that somebody else has accepted")
def test_single():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted = server.accept()[0]
    block = settings_block([describe(accepted)], mode=WIRE.MODE_SINGLE, connections=1, idle=60)
    with Listener(sockets=[accepted], block=block).ready() as listener:
        accepted.close()
        assert exchange(client, b"hello") == b"hello"
        assert listener.wait() == 0
        assert listener.closed()[1]["peer"]["family"] == 4 and listener.totals()["accepted"] == 1


@case("no process for a worker: the connection waits, nothing is lost, nothing spins")
def test_no_process():
    if os.getuid() != 0:
        raise Skip("needs root to become a user without processes")
    with Listener(nproc=2).ready() as listener:
        first = listener.connect()
        assert echoed(first)
        second = listener.connect()
        second.sendall(b"late")
        event = listener.event(WIRE.EVENT_STARVED)
        assert event["detail"] == 11, event
        used = process_stat(listener.pid)
        assert used and listener.totals()["starved"] < 100
        first.close()
        assert second.recv(4) == b"late"
        second.close()
        wait_until(lambda: listener.totals()["fin"] == 2 and listener.live == 0, "all reaped")
        assert listener.is_balanced()


main()
