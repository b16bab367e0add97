#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The installed programs and units in a booted systemd."""
import json
import os
import signal

from service import (ADDRESSES, CONFIG, DATAGRAMS, SHIPPED, Clients, DatagramClients, answers,
                     cursor, datagram_client, drop_in, echoes, fresh, hold, is_replaced, journal,
                     listener_pid, machine, main_pid, refused, state, supervisors, wait_active,
                     wait_journal)
from harness import (case, child_pids, connect_to, descendant_pids, exchange, main, note,
                     read_exactly, read_to_end, send_and_close, status_fields, wait_until)

STAGE = os.environ["ECHOD_STAGE"]
machine.install(STAGE)


@case("nothing of echod listens beyond loopback after the installation")
def test_loopback_only():
    fresh()
    assert sorted(machine.show("Listen", "echod.socket").split()) == sorted(
        ["127.0.0.1:7", "(Stream)", "[::1]:7", "(Stream)"])


@case("systemctl start echod alone works")
def test_start_alone():
    fresh()
    machine.systemctl("start", "echod")
    assert (state(), state("echod.socket")) == ("active", "active")
    echoes()


@case("the first connection starts the service")
def test_on_demand():
    fresh()
    assert refused()
    machine.systemctl("start", "echod.socket")
    assert state() == "inactive"
    echoes()
    wait_active()


@case("stop ends the service and leaves the port to the socket unit")
def test_stop():
    fresh()
    machine.systemctl("start", "echod")
    with hold() as sock:
        send_and_close(sock, b"")
        assert read_to_end(sock) == b""
    machine.systemctl("stop", "echod.service")
    assert state() == "inactive" and machine.show("Result") == "success"
    assert not supervisors()
    echoes()
    machine.systemctl("stop", "echod.socket", "echod.service")
    assert refused()


@case("enable makes it start at boot")
def test_enable():
    fresh()
    machine.systemctl("enable", "echod.socket")
    assert machine.systemctl("is-enabled", "echod.socket") == "enabled"
    machine.systemctl("disable", "echod.socket")


@case("the status line counts connections")
def test_status():
    fresh()
    machine.systemctl("start", "echod")
    with hold():
        wait_until(lambda: machine.show("StatusText").startswith("1 active (max 1024)"),
                   "the status says 1 active")


@case("a closing line stands in the journal with all its fields")
def test_journal():
    fresh()
    machine.systemctl("start", "echod")
    since = cursor()
    sock = connect_to(ADDRESSES[0])
    peer = "%s:%d" % sock.getsockname()
    exchange(sock, b"x" * 4321)
    entry = wait_journal(since, lambda e: e.get("ECHOD_PEER") == peer, "the closing line")[0]
    assert entry["ECHOD_LOCAL"] == ADDRESSES[0], entry
    assert entry["ECHOD_BYTES_IN"] == entry["ECHOD_BYTES_OUT"] == "4321", entry
    assert entry["ECHOD_END"] == "fin" and entry["ECHOD_EVENT"] == "closed", entry
    for name in ("ECHOD_WORKER", "ECHOD_DURATION", "ECHOD_CPU", "ECHOD_RTT",
                 "ECHOD_RETRANSMITS", "MESSAGE_ID"):
        assert entry.get(name), f"{name} is missing: {entry}"
    assert entry["MESSAGE"].startswith(f"closed peer={peer} local={ADDRESSES[0]}"), entry
    assert entry["PRIORITY"] == "6" and entry["SYSLOG_IDENTIFIER"] == "echod", entry
    assert entry["_TRANSPORT"] == "journal", entry


@case("the start brings no warning: the unit's limits fit the settings")
def test_no_warning():
    fresh()
    since = cursor()
    machine.systemctl("start", "echod")
    echoes()
    bad = [entry["MESSAGE"] for entry in journal(since, "-p", "warning")]
    assert not bad, bad


@case("reload: same process, new listener, held connections live on")
def test_reload():
    fresh()
    machine.systemctl("start", "echod")
    pid, listener = main_pid(), listener_pid()
    with hold() as sock:
        machine.systemctl("reload", "echod")
        wait_until(lambda: listener_pid() != listener, "a new listener runs")
        wait_active()       # until it is, it is reloading
        assert main_pid() == pid
        echoes()
        sock.sendall(b"still")
        assert read_exactly(sock, 5) == b"still"


@case("reload with a bad file fails, says why and changes nothing")
def test_reload_bad():
    fresh()
    machine.systemctl("start", "echod")
    since, listener = cursor(), listener_pid()
    machine.write(CONFIG, "limits { connections = none }\n")
    result = machine.run("systemctl", "reload", "echod", check=False)
    assert result.returncode != 0
    wait_journal(since, lambda e: f"{CONFIG}:1: " in e.get("MESSAGE", ""), "file and line")
    assert state() == "active" and listener_pid() == listener
    echoes()


def as_member(group, *command, check=True):
    """Runs a command as a user of no name who is in this group."""
    return machine.run("setpriv", "--reuid=4711", "--regid=4711", f"--groups={group}", "--",
                       *command, check=check)


@case("with the drop-in of echod.conf(5) a group's members may give orders")
def test_control_group():
    fresh()
    machine.run("groupadd", "-f", "--system", "operators")
    machine.write(CONFIG, "control {\n\tgroup = operators\n}\n")
    machine.run("systemctl", "start", "echod", check=False)
    assert state() != "active", "the shipped unit may not give the socket away"
    machine.systemctl("stop", "echod.socket", "echod.service")
    drop_in("service", "[Service]\nPrivateUsers=no\nSupplementaryGroups=operators\n"
                       "SystemCallFilter=@chown\n")
    machine.systemctl("reset-failed", "echod.service", "echod.socket", check=False)
    machine.systemctl("start", "echod")
    with hold() as sock:
        assert "1 connection" in as_member("operators", "echoctl", "kill", "--source",
                                           "127.0.0.1").stdout
        assert sock.recv(1) == b""
    assert as_member("games", "echoctl", "list", check=False).returncode != 0


@case("with the drop-in of echod.conf(5) the metrics file is written where a group may")
def test_metrics_file():
    fresh()
    machine.run("groupadd", "-f", "--system", "watchers")
    machine.run("install", "-d", "-m", "0775", "-g", "watchers", "/var/lib/metrics")
    machine.write(CONFIG, 'metrics {\n\tfile = "/var/lib/metrics/echod.prom"\n}\n')
    drop_in("service", "[Service]\nSupplementaryGroups=watchers\n"
                       "ReadWritePaths=/var/lib/metrics\n")
    since = cursor()
    machine.systemctl("start", "echod")
    path = machine.path("/var/lib/metrics/echod.prom")
    wait_until(lambda: os.path.exists(path), "the file is there")
    assert os.stat(path).st_mode & 0o777 == 0o644
    with open(path, encoding="utf-8") as file:
        assert file.read().endswith("# EOF\n")
    bad = [entry["MESSAGE"] for entry in journal(since, "-p", "warning")]
    assert not bad, bad


@case("restart: the port stays open, connections wait in the queue")
def test_restart():
    fresh()
    machine.systemctl("start", "echod")
    clients = Clients()
    for _ in range(3):
        pid = main_pid()
        machine.systemctl("restart", "echod.service")
        assert main_pid() != pid
        clients.more()
    clients.finish()


@case("echod.socket restarts as often as one likes, while clients start the service")
def test_socket_restart():
    fresh()
    machine.systemctl("start", "echod.socket")
    clients = Clients(refusals=True)
    for _ in range(20):
        machine.systemctl("restart", "echod.socket")
        clients.more(1)
    clients.finish()
    assert state("echod.socket") == "active"
    echoes()


@case("a supervisor that is killed comes back, the port stays open")
def test_supervisor_killed():
    fresh()
    machine.systemctl("start", "echod")
    clients = Clients()
    for _ in range(3):
        pid = main_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: main_pid() not in (None, pid) and state() == "active", "it is back")
        clients.more()
    clients.finish()


@case("a listener that is killed is replaced without a restart of the service")
def test_listener_killed():
    fresh()
    machine.systemctl("start", "echod")
    pid = main_pid()
    with hold() as sock:
        os.kill(listener_pid(), signal.SIGKILL)
        echoes()
        sock.sendall(b"orphan")
        assert read_exactly(sock, 6) == b"orphan"
    assert main_pid() == pid and machine.show("NRestarts") == "0"


@case("a stopped listener starves the watchdog, the service is back by itself")
def test_watchdog():
    fresh()
    drop_in("service", "[Service]\nWatchdogSec=5s\n")
    machine.systemctl("start", "echod")
    echoes()
    stopped = listener_pid()
    os.kill(stopped, signal.SIGSTOP)
    wait_until(lambda: not os.path.exists(f"/proc/{stopped}"), "the stuck listener is gone")
    wait_until(lambda: state() == "active", "the service is back")
    echoes()


@case("a typo: few attempts, each says once what is wrong; mended, the service is back by itself")
def test_typo():
    fresh()
    machine.systemctl("start", "echod")
    machine.write(CONFIG, "timeouts {\n\tidle = 'soon'\n}\n")
    since = cursor()
    result = machine.run("systemctl", "restart", "echod", check=False)
    assert result.returncode != 0
    with connect_to(ADDRESSES[0]) as sock:      # waits
        wait_until(lambda: int(machine.show("NRestarts")) >= 2, "systemd tries again")
        entries = journal(since)
        starts = sum("Starting" in entry["MESSAGE"] for entry in entries)
        errors = sum(f"{CONFIG}:2: " in entry["MESSAGE"] for entry in entries)
        assert starts <= 4 and starts - 1 <= errors <= starts, entries
        machine.write(CONFIG, SHIPPED)
        exchange(sock, b"mended")
    assert (state(), state("echod.socket")) == ("active", "active")


@case("systemd asks for no daemon-reload after an edit that the units do not depend on")
def test_edit():
    fresh()
    machine.write(CONFIG, SHIPPED + 'listen = {"localhost:7"}\n')
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "echod")
    assert "50-echod-conf.conf" in machine.show("DropInPaths", "echod.socket")
    machine.write(CONFIG, SHIPPED + 'listen = {"localhost:7"}\nuser = "nobody"\n')
    for unit in ("echod.socket", "echod.service"):
        assert machine.show("NeedDaemonReload", unit) == "no", unit


@case("the drop-in that the socket unit shows opens the port to the network")
def test_open():
    fresh()
    drop_in("socket", "[Socket]\nListenStream=\nListenStream=7\n")
    machine.systemctl("start", "echod")
    echoes()
    drop_in("socket", "")
    machine.systemctl("restart", "echod.socket")
    echoes()


def configure(text):
    """Writes the settings and types what the documents say about a changed listen."""
    machine.write(CONFIG, text)
    machine.run("sh", "-c", "systemctl daemon-reload && systemctl restart echod.socket")


@case("a udp: address makes a socket unit, for the prefixes of access { allow } alone")
def test_datagram_unit():
    fresh()
    assert machine.show("LoadState", "echod-udp.socket") == "not-found"
    machine.write(CONFIG, DATAGRAMS)
    machine.systemctl("daemon-reload")
    assert machine.show("Listen", "echod-udp.socket") == "127.0.0.1:7 (Datagram)"
    assert machine.show("IPAddressAllow", "echod-udp.socket") == "127.0.0.0/8"
    assert sorted(machine.show("IPAddressDeny", "echod-udp.socket").split()) == [
        "0.0.0.0/0", "::/0"]
    machine.write(CONFIG, SHIPPED)
    machine.systemctl("daemon-reload")
    assert machine.show("LoadState", "echod-udp.socket") == "not-found"


@case("the first datagram starts the service, which answers it without a network of its own")
def test_datagram_on_demand():
    fresh()
    machine.write(CONFIG, DATAGRAMS)
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "echod-udp.socket")
    assert state() == "inactive"
    since = cursor()
    with datagram_client() as sock:
        assert answers(sock)
    wait_active()
    outside = os.readlink(f"/proc/{machine.leader}/ns/net")
    for pid in [main_pid(), *descendant_pids(main_pid())]:
        assert os.readlink(f"/proc/{pid}/ns/net") != outside, "PrivateNetwork"
    assert exchange(connect_to(ADDRESSES[0]), b"TCP too") == b"TCP too"
    bad = [entry["MESSAGE"] for entry in journal(since, "-p", "warning")]
    assert not bad, bad


@case("no datagram is lost by reloads and restarts; the status and the journal count them")
def test_datagram_restart():
    fresh()
    configure(DATAGRAMS)
    machine.systemctl("start", "echod")
    since = cursor()
    clients = DatagramClients()
    for verb in ("reload", "restart", "reload"):
        machine.systemctl(verb, "echod.service")
        clients.more()
    clients.finish()
    seen = json.loads(machine.run("echoctl", "status", "--json").stdout)["datagrams"]
    assert 0 < seen["received"] == seen["sent"], seen
    wait_until(lambda: machine.show("StatusText").endswith(f'{seen["received"]} datagrams'),
               "the status line counts them")
    machine.systemctl("stop", "echod.service")
    wait_journal(since, lambda entry: entry["MESSAGE"].startswith(
        "datagrams local=udp:127.0.0.1:7 in="), "what was answered")


@case("a udp: address that comes or goes in listen takes what any change of it takes")
def test_datagram_listen():
    fresh()
    machine.systemctl("enable", "echod.socket")
    machine.systemctl("start", "echod")
    with datagram_client() as sock:
        assert not answers(sock)
        configure(DATAGRAMS)
        assert answers(sock)
        assert exchange(connect_to(ADDRESSES[0]), b"TCP too") == b"TCP too"
        configure(SHIPPED)
        assert not answers(sock)
        echoes()
        configure('listen = {"udp:127.0.0.1:7"}\n')
        assert answers(sock) and refused()
        configure(DATAGRAMS)
        assert answers(sock)
        assert exchange(connect_to(ADDRESSES[0]), b"TCP too") == b"TCP too"
        configure('listen = {"udp:127.0.0.1:7"}\n')
        configure(SHIPPED)
        assert not answers(sock)
        echoes()
    machine.systemctl("disable", "echod.socket")


@case("the exposure is at most 0.2 (systemd-analyze security)")
def test_exposure():
    fresh()
    machine.systemctl("start", "echod")
    output = machine.run("systemd-analyze", "security", "--no-pager", "--threshold=2",
                         "echod.service").stdout
    note(output.strip().splitlines()[-1])


@case("systemd-analyze verify has nothing to say")
def test_verify():
    output = machine.run("systemd-analyze", "verify", "--man=no", "echod.service",
                         "echod.socket").stdout
    assert output == "", output


@case("all processes are without privilege, capability and network")
def test_confinement():
    fresh()
    machine.systemctl("start", "echod")
    with hold():
        supervisor, listener = main_pid(), listener_pid()
        worker = wait_until(lambda: child_pids(listener), "a worker runs")[0]
        outside = os.readlink(f"/proc/{machine.leader}/ns/net")
        for pid in (supervisor, listener, worker):
            status = status_fields(pid)
            assert "0" not in status["Uid"].split(), status["Uid"]
            assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
            for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(status[name], 16) == 0, (pid, name, status[name])
            assert os.readlink(f"/proc/{pid}/ns/net") != outside, "PrivateNetwork"


@case("without a journal the echo goes on")
def test_no_journal():
    fresh()
    machine.systemctl("start", "echod")
    echoes()
    sockets = ("systemd-journald.socket", "systemd-journald-dev-log.socket",
               "systemd-journald-audit.socket")
    machine.systemctl("stop", *sockets, "systemd-journald.service", check=False)
    try:
        for _ in range(50):
            echoes()
    finally:
        machine.systemctl("start", *sockets[:2], "systemd-journald.service", check=False)
    echoes()


@case("a stopped journal stops nobody's echo")
def test_stuck_journal():
    fresh()
    machine.systemctl("start", "echod")
    machine.systemctl("kill", "--signal=STOP", "systemd-journald.service")
    try:
        for _ in range(300):
            data = b"while the journal is stuck"
            assert exchange(connect_to(ADDRESSES[0]), data) == data
    finally:
        machine.systemctl("kill", "--signal=CONT", "systemd-journald.service")


@case("programs replaced on disk are taken up by a reload that drops nothing")
def test_upgrade():
    fresh()
    machine.systemctl("start", "echod")
    pid = machine.show("MainPID")
    with hold() as sock:
        for name in ("/usr/sbin/echod", "/usr/libexec/echod/echod-listener"):
            os.unlink(machine.path(name))
        machine.install(STAGE)
        machine.systemctl("reload", "echod")
        for found in (main_pid, listener_pid):
            wait_until(lambda: is_replaced(found()) is False, "the program now on disk runs")
        assert machine.show("MainPID") == pid
        echoes()
        sock.sendall(b"across")
        assert read_exactly(sock, 6) == b"across"
    assert machine.show("NRestarts") == "0"


@case("an idle service is small")
def test_memory():
    fresh()
    machine.systemctl("start", "echod")
    echoes()
    total = 0
    for pid in (main_pid(), listener_pid()):
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    note(f"supervisor and listener: {total} KB (proportional)")
    assert total < 16384, total


main()
