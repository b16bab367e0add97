#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""proxy { trust }: connections of balancers, by hand and through HAProxy and nginx."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import time

from harness import (DEADLINE_S, Echod, Process, Skip, case, connect_to, descriptors, exchange,
                     foreign, free_port, limit_descriptors, main, program, read_exactly,
                     read_to_end, run_echoctl, temporary_directory, wait_until)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 7\r\n"
MAX_WAITING = 256


def v2(source="192.0.2.7", command=0x21, tlvs=b""):
    """A header of version 2 with this source, port 4711."""
    is_ipv6 = ":" in source
    block = b"".join(socket.inet_pton(socket.AF_INET6 if is_ipv6 else socket.AF_INET, host)
                     for host in (source, "::1" if is_ipv6 else "192.0.2.1"))
    block += struct.pack("!HH", 4711, 7) + tlvs
    kind = 0x21 if is_ipv6 else 0x11
    return SIGNATURE + struct.pack("!BBH", command, kind, len(block)) + block


def balanced(settings=None, listen=("127.0.0.1:0",), **proxy):
    """echod that trusts 127.0.0.1 and Unix sockets, and logs for debugging."""
    merged = {"log": {"level": "debug", "max-per-second": 0, "connections": "all"},
              "proxy": {"trust": ["127.0.0.1", "unix"], "timeout": "30s", **proxy}}
    merged.update(settings or {})
    return Echod(merged, listen=listen)


def connect_from(echod, address):
    """A connection from another address of the loopback network."""
    sock = socket.create_connection(("127.0.0.1", echod.port), DEADLINE_S, (address, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def announced(echod, header, index=0):
    """A connection through the balancer that has echoed once."""
    sock = echod.connect(index)
    sock.sendall(header + b"held")
    assert read_exactly(sock, 4) == b"held"
    return sock


def is_ended(sock):
    """Waits for the end: true if it came without a byte."""
    with contextlib.suppress(ConnectionResetError), sock:
        return sock.recv(1) == b""
    return True


def status(echod):
    """The counters of connections."""
    path = os.path.join(echod.folder, "control")
    return json.loads(run_echoctl("--json", "--control", path, "status").stdout)["connections"]


def connections(echod):
    """The rows of list."""
    path = os.path.join(echod.folder, "control")
    rows = run_echoctl("--json", "--control", path, "list").stdout.splitlines()
    return [json.loads(row) for row in rows[:-1]]


def is_balanced(numbers):
    """Whether every connection that was accepted has ended or lives."""
    ended = sum(numbers["closed"].values()) + sum(numbers["refused"].values())
    return numbers["accepted"] == ended + numbers["live"]


@case("the announced client is the peer, its balancer stands in via: log, list, kill")
def test_seen():
    with balanced() as echod:
        control = ["--control", os.path.join(echod.folder, "control")]
        held = [announced(echod, V1), announced(echod, v2("2001:db8::7"))]
        here = [f"127.0.0.1:{sock.getsockname()[1]}" for sock in held]
        echod.wait_log(rf"opened peer=192\.0\.2\.7:4711 via={here[0]} local={echod.address} ")
        echod.wait_log(rf"opened peer=\[2001:db8::7\]:4711 via={here[1]} local=")
        rows = [json.loads(line) for line in
                run_echoctl("--json", *control, "list").stdout.splitlines()][:2]
        assert [(row["peer"], row["via"]) for row in rows] == [
            ("192.0.2.7:4711", here[0]), ("[2001:db8::7]:4711", here[1])], rows
        table = run_echoctl(*control, "list", "--source", "192.0.2.0/24").stdout.decode()
        assert " VIA " in table and here[0] in table and here[1] not in table, table
        run_echoctl(*control, "kill", "--source", "127.0.0.1")
        assert len(echod.worker_pids()) == 2, "the balancer is no source"
        assert run_echoctl(*control, "kill", "--source", "192.0.2.7").returncode == 0
        assert is_ended(held[0])
        assert exchange(held[1], b"lives") == b"lives"
        echod.wait_log(rf"closed peer=\[2001:db8::7\]:4711 via={here[1]} .*bytes-in=9 .*end=fin")


@case("without a balancer the list has no column for one")
def test_no_column():
    with Echod() as echod, echod.connect() as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        table = run_echoctl("--control", os.path.join(echod.folder, "control"), "list")
        assert b"VIA" not in table.stdout and b"PEER" in table.stdout, table


@case("a header in single bytes, with TLVs, and with the payload in one segment")
def test_pieces():
    with balanced() as echod:
        for header in (V1, v2(), v2("::ffff:192.0.2.7"), v2(tlvs=b"\5\0\4\0\r\nx"),
                       v2(tlvs=b"\3\0\4" + bytes.fromhex("b6860ebc")), v2(tlvs=b"\4\x0f\xd0" +
                                                                          bytes(0xfd0))):
            mark = echod.log_mark()
            assert exchange(echod.connect(), header + b"payload\r\n") == b"payload\r\n"
            with echod.connect() as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for byte in header[:100]:
                    sock.sendall(bytes([byte]))
                sock.sendall(header[100:])
                sock.sendall(V1)
                assert read_exactly(sock, len(V1)) == V1, "the second one is data"
            echod.wait_log(r"closed peer=192\.0\.2\.7:4711 via=127\.0\.0\.1:", 2, since=mark)


@case("echoctl --proxy is a balancer")
def test_echoctl():
    with balanced() as echod:
        for value in ("v1,192.0.2.7:4711", "v2,[2001:db8::7]:4711"):
            assert run_echoctl("check", "--proxy", value, echod.address).returncode == 0
            echod.wait_log("closed peer=" + re.escape(value[3:]) + r" via=127\.0\.0\.1:")


@case("what is no header is refused in one line, without a byte of it")
def test_wrong():
    wrong = [b"GET / HTTP/1.0\r\n\r\n", b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 07\r\n",
             b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", b"PROXY TCP4 1.2.3.4\n",
             b"PROXY TCP4 \x1b[31m\necho peer=evil 1 2\r\n",
             b"PROXY UNKNOWN \nclosed peer=evil\r\n", b"PROXY TCP4" + b" " * 97 + b"\r\n",
             b"PROXY TCP6 ::1%lo ::1 4711 7\r\n", b"payload" + V1, b"\r\n" + V1,
             v2(command=0x31), v2(command=0x22), v2()[:14] + b"\xff\xff",
             v2(command=0x20)[:14] + b"\xff\xff", v2(command=0x20)[:14] + b"\x10\x01",
             v2()[:14] + b"\0\x0b" + v2()[16:], v2()[:14] + b"\0\0",
             v2("::7")[:14] + b"\0\x23" + v2("::7")[16:],
             v2(tlvs=b"\3\0\4\0\0\0\0"), v2(tlvs=b"\3\0\3\0\0\0"), v2(tlvs=b"\4\0\1"),
             # a value of which only the head is in the header: the payload is none of it
             v2(tlvs=b"\5\0\x08") + b"evil evil", v2(tlvs=b"\5") + b"\0\4evil",
             v2(tlvs=b"\5\0\x81" + b"x" * 129)]
    with balanced() as echod:
        for number, header in enumerate(wrong, 1):
            sock = echod.connect()
            sock.sendall(header)
            assert is_ended(sock), header
            echod.wait_log(rf"refused peer=127\.0\.0\.1:\d+ local={echod.address} reason=proxy$",
                           number)
        with echod.connect() as sock:
            sock.sendall(V1[:20])
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b"", "half a header, and its end"
        echod.wait_log("reason=proxy$", len(wrong) + 1)
        numbers = status(echod)
        assert numbers["refused"]["proxy"] == len(wrong) + 1 and is_balanced(numbers), numbers
        text = "\n".join(echod.log())
        assert "HTTP" not in text and "evil" not in text and "\x1b" not in text, text


@case("the name that the balancer gives to a connection is logged and listed, escaped")
def test_unique_id():
    settings = {"access": {"deny": ["192.0.2.66"]}}
    shown = {b"6f1e-77": "6f1e-77", b"two words": '"two words"', b"x" * 128: "x" * 128,
             b'\x00"\n\xff\x1b[31m': r'"\x00\x22\x0a\xff\x1b[31m"',
             b"1\nclosed peer=evil": r'"1\x0aclosed peer=evil"', "Tür".encode(): "Tür"}
    with balanced(settings) as echod:
        for name, text in shown.items():
            tlv = b"\5" + struct.pack("!H", len(name)) + name
            mark = echod.log_mark()
            with announced(echod, v2(tlvs=tlv)):
                [row] = [row for row in connections(echod) if "unique_id" in row]
                assert row["unique_id"] == text.strip('"').replace(r"\x22", '"'), row
            for word in ("opened", "closed"):
                line = echod.wait_log(rf"^echod: {word} peer=(.*)", since=mark)[0][1]
                assert f" unique-id={text} local=127.0.0.1:" in line, line
            sock = echod.connect()
            sock.sendall(v2("192.0.2.66", tlvs=tlv))
            assert is_ended(sock)
            line = echod.wait_log(r"refused peer=192\.0\.2\.66:4711 via=(.*)", since=mark)[0][1]
            assert line.endswith(f" unique-id={text} local={echod.address} reason=access"), line
        mark = echod.log_mark()
        with announced(echod, v2(tlvs=b"\5\0\0")), announced(echod, v2(command=0x20, tlvs=tlv)):
            assert not any("unique_id" in row for row in connections(echod))
        assert not any("unique-id" in line for line in echod.log()[mark:])


@case("from anywhere else a header is data")
def test_untrusted():
    with balanced() as echod:
        for header in (V1, v2(), b"PROXY nonsense"):
            assert exchange(connect_from(echod, "127.0.0.2"), header) == header
        (fields, *_) = echod.closed_connections(3)
        assert fields["peer"].startswith("127.0.0.2:") and "via" not in fields, fields


@case("one that says nothing, or half of it, has its deadline; others go on meanwhile")
def test_deadline():
    with balanced(timeout="1s") as echod:
        slow = [echod.connect() for _ in range(4)]
        slow[1].sendall(V1[:-1])
        slow[2].sendall(v2()[:17])
        assert exchange(echod.connect(), V1 + b"through") == b"through"
        assert exchange(connect_from(echod, "127.0.0.2"), b"direct") == b"direct"
        drip = slow.pop()
        drip.settimeout(0.05)
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in v2(tlvs=b"\4\x0f\xd0" + bytes(0xfd0)):     # none of them puts it off
                drip.sendall(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    assert drip.recv(1) == b""
                    break
        assert time.monotonic() - started < DEADLINE_S
        assert all(is_ended(sock) for sock in slow)
        echod.wait_log("refused peer=127.* reason=proxy$", 4)
        assert echod.worker_pids() == []


@case("rules and limits of sources are for the announced client")
def test_judged():
    settings = {"access": {"deny": ["127.0.0.0/8", "192.0.2.66"]},
                "limits": {"connections-per-source": 1}}
    with balanced(settings) as echod:
        sock = echod.connect()
        sock.sendall(v2("192.0.2.66"))
        assert is_ended(sock)
        echod.wait_log(r"refused peer=192\.0\.2\.66:4711 via=127\.0\.0\.1:\d+ .*reason=access$")
        held = [announced(echod, v2(f"192.0.2.{number}")) for number in range(3)]
        sock = echod.connect()
        sock.sendall(v2("192.0.2.1"))
        assert is_ended(sock)
        echod.wait_log(r"peer=192\.0\.2\.1:4711 via=\S+ .*reason=connections-per-source$")
        for sock in held:
            sock.close()


@case("the announced client may be exempt, in every sandbox, over an IPv6 socket")
def test_exempt():
    for sandbox in ("off", "require", "strict"):
        settings = {"limits": {"connections-per-source": 1, "exempt": ["192.0.2.0/24"]},
                    "sandbox": sandbox}
        with balanced(settings, listen=("*:0",)) as echod:
            def through(source, port=echod.port):
                sock = connect_to(f"127.0.0.1:{port}")
                sock.sendall(v2(source) + b"held")
                return sock
            held = [through("::ffff:192.0.2.7"), through("192.0.2.7"), through("2001:db8::7")]
            assert all(read_exactly(sock, 4) == b"held" for sock in held)
            assert is_ended(through("2001:db8::8"))
            echod.wait_log(r"refused peer=\[2001:db8::8\]:4711 via=127\.0\.0\.1:\d+ "
                           r"local=127\.0\.0\.1:\d+ reason=connections-per-source$")
            for sock in held:
                sock.close()


@case("the balancer's own connections: health checks, LOCAL, UNKNOWN")
def test_own():
    settings = {"access": {"deny": ["127.0.0.1"]}, "limits": {"connections-per-source": 1}}
    with balanced(settings) as echod:
        held = [announced(echod, header) for header in (
            b"PROXY UNKNOWN\r\n", v2(command=0x20), SIGNATURE + b"\x20\0\0\0",
            SIGNATURE + b"\x20\0\0\5local", SIGNATURE + b"\x21\x31\0\4/a/b")]
        mark = echod.log_mark()
        echod.connect().close()
        line = echod.wait_log(r"closed peer=127\.0\.0\.1.*", since=mark)[0][0]
        assert "bytes-in=0" in line and "end=fin" in line and "worker" not in line, line
        with echod.connect() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        echod.wait_log(r"closed peer=127\.0\.0\.1.*end=reset", since=mark)
        numbers = status(echod)
        assert numbers["empty"] == 2 and numbers["live"] == 5 and is_balanced(numbers), numbers
        for sock in held:
            sock.close()
    assert not any("via=" in line for line in echod.log())


@case("Unix sockets are trusted by their name")
def test_unix():
    with temporary_directory() as folder:
        os.chmod(folder, 0o777)
        path = os.path.join(folder, "echo")
        with balanced(listen=(f"unix:{path}",)) as echod:
            assert exchange(echod.connect(), V1 + b"through") == b"through"
            echod.wait_log(rf"closed peer=192\.0\.2\.7:4711 via=unix:pid={os.getpid()},uid=\d+ "
                           rf"local=unix:{path} .*end=fin$")
            mark = echod.reload({"proxy": {"trust": ["127.0.0.1"]}})
            echod.wait_log("new settings are in force", since=mark)
            assert exchange(echod.connect(), V1) == V1


@case("a balancer may come over MPTCP")
def test_multipath():
    with balanced(listen=("mptcp:127.0.0.1:0",)) as echod:
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
        except OSError as error:
            raise Skip(f"no MPTCP: {error}") from error
        sock.settimeout(DEADLINE_S)
        sock.connect(("127.0.0.1", echod.port))
        sock.sendall(V1[:20])
        wait_until(lambda: status(echod)["waiting"] == 1, "it waits")
        sock.sendall(V1[20:] + b"through")
        assert read_exactly(sock, 7) == b"through"
        sock.close()
        echod.wait_log(r"closed peer=192\.0\.2\.7:4711 via=127\.0\.0\.1:\d+ "
                       r"local=127\.0\.0\.1:\d+ mptcp=yes worker=")


@case("out of descriptors those that wait lose nothing, and go on when there are some")
def test_starved():
    with balanced() as echod:
        waits = [echod.connect() for _ in range(3)]
        wait_until(lambda: status(echod)["waiting"] == 3, "they wait")
        listener = echod.listener_pid
        limit_descriptors(listener, 1)
        late = echod.connect()
        echod.wait_log("starved errno=EMFILE")
        waits[0].sendall(V1[:10])
        limit_descriptors(listener, 100)
        late.sendall(V1 + b"late")
        assert read_exactly(late, 4) == b"late"
        waits[0].sendall(V1[10:])
        for sock in waits[1:]:
            sock.sendall(V1)
        for sock in waits:
            sock.sendall(b"through")
            assert read_exactly(sock, 7) == b"through"
            sock.close()


@case("256 may wait; then the socket rests until one of them ends")
def test_bounded():
    with balanced({"limits": {"connections": 1000, "connections-per-source": 0}}) as echod:
        slow = [echod.connect() for _ in range(MAX_WAITING)]
        wait_until(lambda: status(echod)["live"] == MAX_WAITING, "all of them wait")
        assert status(echod)["waiting"] == MAX_WAITING
        control = ["--control", os.path.join(echod.folder, "control")]
        assert b"\nechod_connections_waiting 256\n" in run_echoctl(*control, "metrics").stdout
        assert b"\nwaiting      256 for their PROXY" in run_echoctl(*control, "status").stdout
        last = echod.connect()
        last.sendall(V1 + b"last")
        last.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            assert last.recv(4) == b"nothing yet"
        last.settimeout(DEADLINE_S)
        slow[100].sendall(V1 + b"first")
        assert read_exactly(slow[100], 5) == b"first"
        assert read_exactly(last, 4) == b"last"
        for sock in slow:
            sock.close()
        wait_until(lambda: status(echod)["live"] == 1, "they have ended")
        assert status(echod)["waiting"] == 0


@case("those that wait count for the limit of connections")
def test_limit():
    with balanced({"limits": {"connections": 2, "at-limit": "refuse"}}) as echod:
        waits = echod.connect()
        wait_until(lambda: status(echod)["live"] == 1, "one waits")
        held = announced(echod, V1)
        [worker] = echod.worker_pids()
        assert len(descriptors(worker)) == 1, "it has its connection and not the one that waits"
        assert is_ended(connect_from(echod, "127.0.0.2"))
        echod.wait_log(r"refused peer=127\.0\.0\.2:\d+ local=\S+ reason=connections$")
        waits.sendall(V1 + b"late")
        assert read_exactly(waits, 4) == b"late", "it had a place"
        held.close()
        waits.close()


@case("a reload serves those that wait, a stop refuses them")
def test_reload():
    with balanced() as echod:
        waits = [echod.connect() for _ in range(2)]
        wait_until(lambda: status(echod)["live"] == 2, "both wait")
        mark = echod.reload({"proxy": {"trust": ["127.0.0.3"]}})
        echod.wait_log("new settings are in force", since=mark)
        waits[0].sendall(V1 + b"old")
        assert read_exactly(waits[0], 3) == b"old", "it was trusted when it came"
        waits[0].close()
        assert exchange(echod.connect(), V1) == V1, "this one is not"
        echod.signal(signal.SIGTERM)
        assert is_ended(waits[1])
        assert echod.wait() == 0
        echod.wait_log("refused peer=127.* reason=connections$")


@case("a listener that dies takes those that wait along, and the sum stays right")
def test_listener_dies():
    with balanced() as echod:
        waits = echod.connect()
        held = announced(echod, V1)
        wait_until(lambda: status(echod)["live"] == 2, "one waits, one lives")
        assert status(echod)["waiting"] == 1
        os.kill(echod.listener_pid, signal.SIGKILL)
        assert is_ended(waits)
        wait_until(lambda: status(echod)["waiting"] == 0, "none waits")
        assert exchange(held, b"orphan") == b"orphan"
        assert exchange(wait_until(lambda: echod.connect(), "it listens"), V1 + b"new") == b"new"
        wait_until(lambda: status(echod)["live"] == 0, "nothing is left")
        assert is_balanced(status(echod))


@case("the one connection of echod --inetd may come through a balancer")
def test_inetd():
    with temporary_directory() as folder, socket.create_server(("127.0.0.1", 0)) as listening:
        path = os.path.join(folder, "echod.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write('log { target = "stderr" }\nproxy { trust = "127.0.0.1" }\n')
        with socket.create_connection(listening.getsockname(), DEADLINE_S) as sock:
            accepted, _ = listening.accept()
            echod = Process("echod", [program("echod"), "-c", path, "--inetd"],
                            env=Echod.environment(None), stdin=accepted)
            accepted.close()
            sock.sendall(V1 + b"passed")
            assert read_exactly(sock, 6) == b"passed"
        assert echod.wait() == 0
        echod.wait_log(r"closed peer=192\.0\.2\.7:4711 via=127\.0\.0\.1:")


@case("over an upgrade those that wait are served, by the program that has accepted them")
def test_upgrade():
    with temporary_directory() as folder:
        path = os.path.join(folder, "echod")
        for name in ("echod", "echod-listener"):
            shutil.copy(program(name), os.path.join(folder, name))
        with Echod({"proxy": {"trust": ["127.0.0.1"], "timeout": "30s"}}, executable=path,
                   env={"ECHOD_LISTENER": path + "-listener"}) as echod:
            waits = echod.connect()
            wait_until(lambda: status(echod)["waiting"] == 1, "it waits")
            shutil.copy(program("echod"), path + ".new")
            os.rename(path + ".new", path)
            mark = echod.log_mark()
            echod.signal(signal.SIGHUP)
            echod.wait_log("takes over", since=mark)
            echod.wait_log("new settings are in force", since=mark)
            assert status(echod)["waiting"] == 1
            waits.sendall(v2(tlvs=b"\5\0\3old") + b"through")
            assert read_exactly(waits, 7) == b"through"
            waits.close()
            echod.wait_log(r"closed peer=192\.0\.2\.7:4711 via=127\.0\.0\.1:\d+ unique-id=old ")


@contextlib.contextmanager
def haproxy(servers, extra=""):
    """HAProxy in front of these servers (their lines); the address of its echo service."""
    command = [foreign("haproxy"), "-db", "-q", "-f"]
    port = free_port()
    with temporary_directory() as folder:
        path = os.path.join(folder, "haproxy.cfg")
        lines = "".join(f" server s{number} {line}\n" for number, line in enumerate(servers))
        with open(path, "w", encoding="ascii") as file:
            file.write(f"global\n stats socket {folder}/stats level admin\n"
                       "defaults\n mode tcp\n timeout connect 30s\n timeout client 60s\n"
                       " timeout server 60s\n retries 10\n option redispatch 1\n"
                       f"listen echo\n bind 127.0.0.1:{port}\n balance roundrobin\n{extra}{lines}")
        process = Process("haproxy", [*command, path])
        try:
            wait_until(lambda: os.path.exists(f"{folder}/stats"), "HAProxy runs")
            yield f"127.0.0.1:{port}", f"{folder}/stats"
        finally:
            process.kill()


@case("HAProxy: send-proxy and send-proxy-v2, with and without its options")
def test_haproxy():
    with balanced() as echod:
        for option in ("send-proxy", "send-proxy-v2",
                       "send-proxy-v2 proxy-v2-options crc32c,unique-id"):
            with haproxy([f"{echod.address} {option}"],
                         " unique-id-format %[uuid()]\n") as (address, _):
                mark = echod.log_mark()
                with connect_to(address) as sock:
                    here = sock.getsockname()
                    assert exchange(sock, b"through") == b"through"
                fields = echod.closed_connections(1, since=mark)[0]
                assert fields["peer"] == f"127.0.0.1:{here[1]}", fields
                assert fields["via"].startswith("127.0.0.1:") and fields["via"] != fields["peer"]
                assert fields["bytes-in"] == "7", fields
                assert ("unique-id" in fields) == ("unique-id" in option), fields


@case("HAProxy: its health checks, with and without a header, are no news")
def test_haproxy_check():
    with balanced() as echod:
        for option in ("check inter 50ms", "check inter 50ms check-send-proxy"):
            mark = echod.log_mark()
            with haproxy([f"{echod.address} send-proxy-v2 {option}"]) as (address, _):
                echod.wait_log(r"closed peer=127\.0\.0\.1:\d+ .*bytes-in=0 .*end=(fin|reset)", 5,
                               since=mark)
                assert exchange(connect_to(address), b"through") == b"through"
        assert not any("reason=proxy" in line for line in echod.log())


@case("HAProxy over two daemons, one reloading, one drained: nothing is lost")
def test_haproxy_two():
    settings = {"limits": {"connections-per-source": 0},
                "log": {"level": "info", "connections": "none"}}
    with balanced(settings) as first, balanced(settings) as second:
        with haproxy([f"{daemon.address} send-proxy-v2" for daemon in (first, second)]
                     ) as (address, stats):
            for number in range(120):
                if number in (20, 40, 60):
                    mark = first.log_mark()
                    first.signal(signal.SIGHUP)
                if number == 80:
                    with connect_to(f"unix:{stats}") as admin:
                        admin.sendall(b"set server echo/s1 state drain\n")
                        read_to_end(admin)
                    wait_until(lambda: not second.worker_pids(), "the second one is drained")
                    assert second.stop() == 0
                data = b"%06d" % number
                assert exchange(connect_to(address), data) == data
            first.wait_log("new settings are in force", since=mark)


def nginx_module():
    """The path of nginx' stream module, beside a folder of PATH."""
    for folder in os.environ.get("PATH", "").split(":"):
        path = os.path.normpath(os.path.join(folder, "../lib/nginx/modules/ngx_stream_module.so"))
        if os.path.exists(path):
            return path
    raise Skip("nginx' stream module is not there")


@case("nginx: its stream module with proxy_protocol")
def test_nginx():
    command = [foreign("nginx"), "-e", "stderr", "-p"]
    module = nginx_module()
    port = free_port()
    with balanced() as echod, temporary_directory() as folder:
        path = os.path.join(folder, "nginx.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"load_module {module};\ndaemon off;\nmaster_process off;\n"
                       f"pid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
                       f"stream {{\n server {{\n  listen 127.0.0.1:{port};\n"
                       f"  proxy_pass {echod.address};\n  proxy_protocol on;\n }}\n}}\n")
        nginx = Process("nginx", [*command, folder, "-c", path])

        def reached():
            assert nginx.popen.poll() is None, nginx.log()
            with contextlib.suppress(OSError):
                return connect_to(f"127.0.0.1:{port}")
            return None

        try:
            sock = wait_until(reached, "nginx accepts connections")
            here = sock.getsockname()[1]
            sock.sendall(b"through")
            assert read_exactly(sock, 7) == b"through"
            sock.close()
            echod.wait_log(rf"closed peer=127\.0\.0\.1:{here} via=127\.0\.0\.1:")
        finally:
            nginx.kill()


main()
