#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Every byte comes back, in order, none changed, none added, whatever the peer's timing."""
import socket
import threading
import time

from harness import (DEADLINE_S, RANDOM, Echod, case, exchange, main, random_bytes, read_exactly,
                     read_to_end, send_and_close, sending)

MIB = 1 << 20


@case("a line comes back")
def test_line():
    with Echod() as echod:
        assert exchange(echod.connect(), b"hello\r\n") == b"hello\r\n"


@case("a line comes back before anything else is sent")
def test_interactive():
    with Echod() as echod, echod.connect() as sock:
        for number in range(200):
            message = b"message %d" % number
            sock.sendall(message)
            assert read_exactly(sock, len(message)) == message
        send_and_close(sock, b"")
        assert read_to_end(sock) == b""


@case("every byte value comes back unchanged")
def test_byte_values():
    data = bytes(range(256)) * 300
    with Echod() as echod:
        assert exchange(echod.connect(), data) == data


@case("sizes around every buffer's edge come back whole")
def test_sizes():
    with Echod() as echod:
        for exponent in (0, 1, 9, 10, 12, 13, 15, 16, 17, 18, 20):
            for size in ((1 << exponent) - 1, 1 << exponent, (1 << exponent) + 1):
                data = random_bytes(size)
                assert exchange(echod.connect(), data) == data, f"{size} bytes"


@case("a connection that carries nothing ends with an orderly close")
def test_empty():
    with Echod() as echod:
        assert exchange(echod.connect(), b"") == b""


@case("one-byte writes come back one by one and all together")
def test_single_bytes():
    data = random_bytes(3000)
    with Echod() as echod, echod.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for value in data[:1000]:
            sock.sendall(bytes([value]))
            assert sock.recv(1) == bytes([value])
        for value in data[1000:]:
            sock.sendall(bytes([value]))
        sock.shutdown(socket.SHUT_WR)
        assert read_to_end(sock) == data[1000:]


@case("64 MiB come back whole behind a late and slow reader")
def test_slow_reader():
    data = random_bytes(MIB) * 64
    with Echod() as echod:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.settimeout(DEADLINE_S)
        sock.connect(("127.0.0.1", echod.port))
        sender = sending(sock, data)
        # late: the sender is stuck because everything between us is full
        before = -1
        while before != (now := bytes_queued(sock)):
            before = now
            time.sleep(0.3)
        assert sender.is_alive(), "64 MiB fit between us: nothing was tested"
        offset = 0
        while part := sock.recv(MIB if offset > 2 * MIB else RANDOM.randrange(1, 5000)):
            assert part == data[offset:offset + len(part)], f"differs after {offset}"
            offset += len(part)
        sender.join(DEADLINE_S)
        assert offset == len(data), f"{offset} of {len(data)} bytes came back"


def bytes_queued(sock):
    """Bytes in our send queue (SIOCOUTQ)."""
    import fcntl
    import struct
    return struct.unpack("i", fcntl.ioctl(sock, 0x5411, b"\0" * 4))[0]


@case("a half-close at every point of a conversation loses nothing")
def test_half_close():
    with Echod() as echod:
        for total in (0, 1, 2, 100, 1460, 65536, 300000):
            data = random_bytes(total)
            for echoed_first in {0, min(1, total), total // 2, total}:
                with echod.connect() as sock:
                    sock.sendall(data[:echoed_first])
                    early = read_exactly(sock, echoed_first)
                    sender = sending(sock, data[echoed_first:])
                    late = read_to_end(sock)
                    sender.join(DEADLINE_S)
                    assert early + late == data, f"{total} bytes, FIN after {echoed_first}"


@case("the tail that is still in flight at the FIN comes back")
def test_tail_in_flight():
    data = random_bytes(4 * MIB)
    with Echod() as echod, echod.connect() as sock:
        sender = sending(sock, data)
        # half of it is read only after our FIN is out
        first = read_exactly(sock, 2 * MIB)
        rest = read_to_end(sock)
        sender.join(DEADLINE_S)
        assert first + rest == data


@case("urgent data comes back in its place, in a conversation and in bulk")
def test_urgent():
    for bulk in (b"", random_bytes(16 * MIB)):
        with Echod() as echod, echod.connect() as sock:
            sender = threading.Thread(target=sock.sendall, args=(bulk,), daemon=True)
            sender.start()
            assert read_exactly(sock, len(bulk)) == bulk
            sender.join(DEADLINE_S)
            sock.send(b"before!", socket.MSG_OOB)
            assert read_exactly(sock, 7) == b"before!", f"after {len(bulk)} bytes"
            send_and_close(sock, b"after")
            assert read_to_end(sock) == b"after", f"after {len(bulk)} bytes"


@case("IPv6 and Unix sockets echo too")
def test_families():
    with Echod(listen=("127.0.0.1:0", "[::1]:0", "unix:/tmp/echod-test-%d" % RANDOM.getrandbits(48))
               ) as echod:
        assert len(echod.addresses) == 3, echod.addresses
        for index in range(3):
            data = random_bytes(200000)
            assert exchange(echod.connect(index), data) == data, echod.addresses[index]


@case("the closing line counts the bytes")
def test_closing_line():
    with Echod() as echod:
        sock = echod.connect()
        name = "%s:%d" % sock.getsockname()
        assert exchange(sock, b"x" * 12345) == b"x" * 12345
        fields = echod.closed_connections(1)[0]
        assert fields["peer"] == name, fields
        assert fields["local"] == echod.address, fields
        assert fields["bytes-in"] == fields["bytes-out"] == "12345", fields
        assert fields["end"] == "fin", fields
        for key in ("worker", "duration", "cpu", "rtt", "retransmits"):
            assert key in fields, f"{key} is missing: {fields}"


main()
