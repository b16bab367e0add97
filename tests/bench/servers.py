# SPDX-License-Identifier: MIT
"""The servers that the benchmark measures: how each is had, configured, started and stopped."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

from machine import Group, reap_orphans

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../run"))
from harness import free_port       # noqa: E402  pylint: disable=wrong-import-position

START_DEADLINE_S = 30
HOST = "127.0.0.1"
SEVERAL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "several.py")


class Unavailable(Exception):
    """The peer cannot be had on this machine; the text says why."""


class Place:
    """The folders of one run: built programs, private files, packages that were unpacked."""

    def __init__(self, build, scratch):
        self.build = build
        self.scratch = scratch
        self.cache = os.path.join(build, "bench", "cache")

    def program(self, name):
        """One of our own built programs."""
        path = os.path.join(self.build, name)
        if not os.access(path, os.X_OK):
            raise Unavailable(f"{name} is not built")
        return path

    def write(self, name, text):
        """A private file for a server."""
        path = os.path.join(self.scratch, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o644)
        return path

    def unpacked(self, package, program):
        """A program out of a Debian package that is not installed, because it conflicts."""
        path = os.path.join(self.cache, package, program)
        if os.path.exists(path):
            return path
        folder = os.path.join(self.cache, package)
        try:
            os.makedirs(folder, exist_ok=True)
            subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True,
                           timeout=60, capture_output=True)
            archive = next(name for name in os.listdir(folder) if name.endswith(".deb"))
            subprocess.run(["dpkg", "-x", archive, "."], cwd=folder, check=True, timeout=60,
                           capture_output=True)
        except (OSError, StopIteration, subprocess.SubprocessError) as error:
            raise Unavailable(f"package {package} cannot be fetched") from error
        missing = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
        if "not found" in missing.stdout:
            raise Unavailable(f"{package} needs a library that is not installed")
        return path


def installed(program):
    """Path of an installed program."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Unavailable(f"{program} is not installed")
    return path


def with_private_files(pairs, command):
    """The command in a mount namespace in which our files lie over those of /etc."""
    if os.geteuid() != 0:
        raise Unavailable("needs root for a private mount namespace")
    mounts = " && ".join(f"mount --bind '{ours}' '{theirs}'" for ours, theirs in pairs)
    return [installed("unshare"), "--mount", "--propagation", "private", "/bin/sh", "-c",
            mounts + ' && exec "$@"', "sh", *command]


ECHOD_CONF = """\
user = "nobody"
limits {{
	connections = 12000
	connections-per-source = 0
}}
log {{
	level = "info"
	target = "stderr"
	connections = "close"
}}
control {{
	path = "{scratch}/control-{port}"
}}
sandbox = "auto"
"""


def echod(place, port):
    """echod with accounting, limits, sandbox and log on."""
    text = ECHOD_CONF.format(port=port, scratch=place.scratch)
    os.environ["ECHOD_LISTENER"] = place.program("echod-listener")
    return [place.program("echod"), "-c", place.write(f"echod-{port}.conf", text),
            "-l", f"{HOST}:{port}"]


def echod_twice(place, port):
    """Two daemons with a listening socket each on one port: what more cores could have."""
    text = ECHOD_CONF.format(port=port, scratch=place.scratch)
    text = re.sub(r"control \{.*?\}\n", "", text, flags=re.DOTALL)
    os.environ["ECHOD_LISTENER"] = place.program("echod-listener")
    return [SEVERAL, "2", "tcp", str(port), place.program("echod"), "-c",
            place.write(f"echod-{port}.conf", text)]


HAPROXY_CFG = """\
global
	maxconn 9000
defaults
	mode tcp
	timeout connect 5s
	timeout client 60s
	timeout server 60s
listen echo
	bind {host}:{port}
	balance leastconn
"""


def balanced(count):
    """So many daemons behind one HAProxy, all on this machine: what the balancer costs."""
    def command(place, port):
        text, daemons = HAPROXY_CFG.format(host=HOST, port=port), ""
        for number in range(count):
            own = free_port()
            text += f"\tserver echod{number} {HOST}:{own}\n"
            daemons += " ".join(echod(place, own)) + " & "
        config = place.write(f"haproxy-{port}.cfg", text)
        return ["sh", "-c", f"{daemons} exec {installed('haproxy')} -db -f {config}"]
    return command


def reference(name):
    """One of the two servers that the benchmark carries."""
    return lambda place, port: [place.program(name), str(port)]


XINETD_CONF = """\
service echo
{{
	type = INTERNAL UNLISTED
	id = echo-{kind}
	socket_type = {kind}
	protocol = {protocol}
	user = root
	wait = {wait}
	bind = {host}
	port = {port}
	instances = UNLIMITED
	per_source = UNLIMITED
	cps = 1000000 1
}}
"""
NSSWITCH = "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n"


def xinetd(place, port, kind="stream", protocol="tcp", wait="no"):
    """Internal echo. Its libwrap asks for the peer's name: `hosts: files`, or it waits for DNS."""
    config = place.write(f"xinetd-{port}.conf", XINETD_CONF.format(
        host=HOST, port=port, kind=kind, protocol=protocol, wait=wait))
    nsswitch = place.write("nsswitch.conf", NSSWITCH)
    return with_private_files(
        [(nsswitch, "/etc/nsswitch.conf")],
        [place.unpacked("xinetd", "usr/sbin/xinetd"), "-dontfork", "-f", config,
         "-pidfile", os.path.join(place.scratch, f"xinetd-{port}.pid")])


def openbsd_inetd(place, port):
    """Internal echo goes by the name of its service: its port stands in a private /etc/services."""
    config = place.write(f"inetd-{port}.conf",
                         f"{HOST}:echo stream tcp4 nowait.1000000 root internal\n")
    services = place.write(f"services-{port}", f"echo {port}/tcp\n")
    nsswitch = place.write("nsswitch.conf", NSSWITCH)
    return with_private_files(
        [(services, "/etc/services"), (nsswitch, "/etc/nsswitch.conf")],
        [place.unpacked("openbsd-inetd", "usr/sbin/inetd"), "-i", "-q", "4096", "-R", "0", config])


def socat(_place, port):
    """One forked process for each connection, echo through a pipe."""
    return [installed("socat"), f"TCP4-LISTEN:{port},bind={HOST},reuseaddr,fork,backlog=4096",
            "PIPE"]


def tcpserver(_place, port):
    """ucspi-tcp, without look-ups, with a backlog and a limit as wide as the others have."""
    return [installed("tcpserver"), "-q", "-H", "-R", "-l", "0", "-c", "30000", "-b", "4096",
            HOST, str(port), "/bin/cat"]


def socket_activate(_place, port):
    """systemd's own activator, one program for each connection."""
    return [installed("systemd-socket-activate"), "--accept", "--inetd", "-l", f"{HOST}:{port}",
            "/bin/cat"]


def ncat(_place, port):
    """nmap's netcat."""
    return [installed("ncat"), "-4", "-n", "-l", "-k", "-m", "30000", "-e", "/bin/cat",
            HOST, str(port)]


SERVERS = {
    "echod": echod,
    "echod twice, SO_REUSEPORT": echod_twice,
    "HAProxy and one echod": balanced(1),
    "HAProxy and two echods": balanced(2),
    "epoll, one process": reference("bench-epoll-server"),
    "fork, libraries mapped": reference("bench-fork-server"),
    "xinetd": xinetd,
    "openbsd-inetd": openbsd_inetd,
    "socat": socat,
    "tcpserver cat": tcpserver,
    "systemd-socket-activate cat": socket_activate,
    "ncat cat": ncat,
}


def exchange_once(port, deadline_s):
    """One whole connection as the load generator makes them; False when it is not served."""
    with contextlib.suppress(OSError):
        with socket.create_connection((HOST, port), timeout=deadline_s) as sock:
            sock.sendall(b"?")
            echoed = sock.recv(64)
            sock.shutdown(socket.SHUT_WR)
            return echoed == b"?" and sock.recv(64) == b""
    return False


class Server:
    """A running server in a group of its own; use it as a context manager."""

    commands = SERVERS
    exchange_once = staticmethod(exchange_once)

    def __init__(self, name, place):
        self.name = name
        self.port = free_port()
        command = self.commands[name](place, self.port)
        self.group = Group(str(self.port))
        self.log_path = os.path.join(place.scratch, f"{self.port}.log")
        with open(self.log_path, "wb") as log:
            # pylint: disable-next=consider-using-with,subprocess-popen-preexec-fn
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True,
                                            preexec_fn=self.group.enter)
        self.group.root_pid = self.process.pid

    @property
    def address(self):
        """As the load generator takes it."""
        return f"{HOST}:{self.port}"

    def log_tail(self):
        """The last words of the server."""
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()[-2000:].strip()

    def wait_ready(self):
        """Returns once a whole connection or a datagram was served."""
        end = time.monotonic() + START_DEADLINE_S
        while not self.exchange_once(self.port, 5):
            if self.process.poll() is not None:
                raise Unavailable(f"ended with status {self.process.returncode}: "
                                  + self.log_tail()[-300:])
            if time.monotonic() > end:
                raise Unavailable("does not serve: " + self.log_tail()[-300:])
            time.sleep(0.05)

    def __enter__(self):
        try:
            self.wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        if self.process.poll() is None:
            self.process.kill()
        self.group.kill()
        self.process.wait()
        reap_orphans()
