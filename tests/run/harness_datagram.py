# SPDX-License-Identifier: MIT
"""UDP servers that behave and such that do not, and networks of namespaces around them."""
import contextlib
import ctypes
import os
import select
import socket
import struct
import subprocess
import threading

from harness import Skip, foreign, program, wait_until

CLONE_NEWNET = 0x40000000


class DatagramPeer:
    """
    A thread that calls answer(number, bytes) for each datagram that comes, counted from 1, and
    sends what that returns: a list of answers, each of bytes or of (bytes, sending socket).
    """

    def __init__(self, answer, host="127.0.0.1", node=None, options=()):
        self.answer = answer
        self.seen = []
        self.sender = None  # of the datagram that is being answered
        self.end, self.ender = socket.socketpair()
        with node.inside() if node else contextlib.nullcontext():
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self.socket = socket.socket(family, socket.SOCK_DGRAM)
            for option in options:
                self.socket.setsockopt(*option)
            self.socket.bind((host, 0))
        self.port = self.socket.getsockname()[1]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while self.end not in select.select([self.socket, self.end], [], [])[0]:
            data, peer = self.socket.recvfrom(1 << 16)
            self.seen.append(data)
            self.sender = peer
            for answer in self.answer(len(self.seen), data):
                data, sender = answer if isinstance(answer, tuple) else (answer, self.socket)
                with contextlib.suppress(OSError):
                    sender.sendto(data, peer)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ender.close()
        self.thread.join()
        self.socket.close()
        self.end.close()


def echo(_number, data):
    """RFC 862."""
    return [data]


class Node:
    """A network namespace of its own, which goes when the block ends."""

    def __init__(self):
        if os.geteuid() != 0:
            raise Skip("network namespaces are root's")
        # It lives as long as its input is open.
        # pylint: disable-next=consider-using-with
        self.holder = subprocess.Popen([foreign("unshare"), "-n", "cat"], stdin=subprocess.PIPE)
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: self.holder.poll() is not None or
                   os.readlink(f"/proc/{self.holder.pid}/ns/net") != own, "a network namespace")
        if self.holder.poll() is not None:
            raise Skip("no network namespace can be made")
        self.run("ip", "link", "set", "lo", "up")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.holder.stdin.close()
        self.holder.wait()

    def command(self, *arguments):
        """The command line that runs arguments in it."""
        return [foreign("nsenter"), f"--net=/proc/{self.holder.pid}/ns/net", "--", *arguments]

    def run(self, *arguments):
        """Runs that and wants it to end well."""
        subprocess.run(self.command(*arguments), check=True)

    def is_up(self, name):
        """Whether the link carries packets: until then the kernel drops them without an error."""
        shown = subprocess.run(self.command("ip", "-o", "link", "show", "dev", name),
                               stdout=subprocess.PIPE, text=True, check=True).stdout
        return " state UP " in shown

    def echoctl(self, *arguments, deadline_s=60):
        """Runs echoctl in it, to its end."""
        return subprocess.run(self.command(program("echoctl"), *arguments), capture_output=True,
                              timeout=deadline_s, check=False)

    @contextlib.contextmanager
    def inside(self):
        """This thread makes its sockets there."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net", "rb") as own, \
                open(f"/proc/{self.holder.pid}/ns/net", "rb") as there:
            assert libc.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(own.fileno(), CLONE_NEWNET) == 0


def forge_icmp(node, peer, client, code, quoted, mtu=0):
    """
    Sends from the node an ICMP "destination unreachable" to the client (host, port) of peer, a
    DatagramPeer, as if a router had quoted these bytes of a datagram on its way there.
    """
    udp = struct.pack(">HHHH", client[1], peer.port, 8 + len(quoted), 0) + quoted
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, socket.IPPROTO_UDP, 0,
                     socket.inet_aton(client[0]), socket.inet_aton(peer.address.split(":")[0]))
    message = struct.pack(">BBHHH", 3, code, 0, 0, mtu) + ip + udp
    total = sum(struct.unpack(f">{len(message) // 2}H", message))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    message = message[:2] + struct.pack(">H", total ^ 0xffff) + message[4:]
    with node.inside(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.sendto(message, (client[0], 0))


def link(one, two, number, mtu=1500):
    """Joins two nodes by 192.0.2.0 + 4 * number: the first one has .1 of it, the second one .2."""
    name = f"v{number}"
    one.run("ip", "link", "add", name, "mtu", str(mtu), "type", "veth", "peer", "name", name,
            "mtu", str(mtu), "netns", str(two.holder.pid))
    for node, host in ((one, 1), (two, 2)):
        node.run("ip", "address", "add", f"192.0.2.{4 * number + host}/30", "dev", name)
        node.run("ip", "link", "set", name, "up")
    wait_until(lambda: one.is_up(name) and two.is_up(name), f"the link {name}")


@contextlib.contextmanager
def routed(far_mtu=1500):
    """A client at 192.0.2.1, a router at .2 and .5 and a server at .6, as nodes."""
    with Node() as client, Node() as router, Node() as server:
        link(client, router, 0)
        link(router, server, 1, far_mtu)
        client.run("ip", "route", "add", "default", "via", "192.0.2.2")
        server.run("ip", "route", "add", "default", "via", "192.0.2.5")
        router.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        yield client, router, server
