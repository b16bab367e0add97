# SPDX-License-Identifier: MIT
"""The UDP half of the benchmark: its servers, and how they are measured."""
import contextlib
import os
import socket

from measure import run_load, with_cpu
from report import BARE
from servers import ECHOD_CONF, HOST, SEVERAL, Server, installed, xinetd

SIZES = (64, 1400)
FLOWS, WINDOW = 8, 8
BURST_FLOWS, BURST_WINDOW = 64, 64      # 4,096 datagrams at once

# All flows are one source. Its bucket is looked at, but never empty.
RULES = """\
udp {
	rate-per-source = 10000000
	rate-burst = 10000000
}
"""


def echod_conf(place, port):
    """echod with accounting, limits, sandbox and log on."""
    os.environ["ECHOD_LISTENER"] = place.program("echod-listener")
    text = ECHOD_CONF.format(port=port, scratch=place.scratch) + RULES
    return place.write(f"echod-{port}.conf", text)


def echod(place, port):
    """As under systemd, which passes a socket with a receive buffer of 4 MiB."""
    return [SEVERAL, "1", "udp", str(port), place.program("echod"), "-c", echod_conf(place, port)]


def echod_own_socket(place, port):
    """Its own socket has the receive buffer that the kernel gives by default."""
    return [place.program("echod"), "-c", echod_conf(place, port), "-l", f"udp:{HOST}:{port}"]


def bare(*options):
    """The loop that the benchmark carries."""
    return lambda place, port: [place.program("bench-datagram-server"), *options, str(port)]


def socat(_place, port):
    """One forked process for each source, echo through a pipe."""
    return [installed("socat"), f"UDP4-LISTEN:{port},bind={HOST},reuseaddr,fork", "PIPE"]


def ncat(_place, port):
    """nmap's netcat."""
    return [installed("ncat"), "-4", "-n", "-u", "-l", "-k", "-m", "30000", "-e", "/bin/cat",
            HOST, str(port)]


DATAGRAM_SERVERS = {
    "UDP echod": echod,
    "UDP echod, its own socket": echod_own_socket,
    BARE: bare(),
    "UDP bare loop, GRO and GSO": bare("-g"),
    "UDP bare loop, one a call": bare("-1"),
    "UDP xinetd": lambda place, port: xinetd(place, port, "dgram", "udp", "yes"),
    "UDP socat": socat,
    "UDP ncat cat": ncat,
}


def exchange_datagram(port, deadline_s):
    """One datagram to and fro; False when none comes back."""
    with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(deadline_s)
        sock.connect((HOST, port))
        sock.send(b"?")
        return sock.recv(64) == b"?"
    return False


class DatagramServer(Server):
    """A server that is asked over UDP."""

    commands = DATAGRAM_SERVERS
    exchange_once = staticmethod(exchange_datagram)


def exchanges(place, server, seconds, size, *options):
    """Datagrams a second in a closed loop, server CPU for each; per cent lost and merged."""
    result, cpu_s = with_cpu(server, lambda: run_load(
        place, "datagram", server.address, "-w", str(WINDOW), "-b", str(size), *options,
        clients=FLOWS, seconds=seconds))
    kind = f"{'gso_' if options else ''}{size}"
    return {f"datagrams_{kind}": result["per_second"],
            f"datagram_cpu_us_{kind}":
                cpu_s * 1e6 / result["datagrams"] if result["datagrams"] else None,
            f"datagrams_lost_{kind}": percent(result["lost"], result["sent"]),
            f"datagrams_merged_{kind}": percent(result["merged"], result["datagrams"]),
            f"failed_datagrams_{kind}": result["failed"]}


def percent(part, whole):
    """None if there is no whole."""
    return 100 * part / whole if whole else None


def datagrams(place, server, seconds):
    """Both sizes, from a plain sender and from one that lets the kernel cut (-g); then bursts."""
    values = {}
    for size in SIZES:
        values |= exchanges(place, server, seconds, size)
        values |= exchanges(place, server, seconds, size, "-g")
    burst = run_load(place, "datagram", server.address, "-w", str(BURST_WINDOW), "-b",
                     str(SIZES[0]), clients=BURST_FLOWS, seconds=seconds)
    return values | {"datagrams_lost_burst": percent(burst["lost"], burst["sent"]),
                     "failed_datagrams_burst": burst["failed"]}
