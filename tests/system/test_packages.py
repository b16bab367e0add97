#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The Debian packages in a booted systemd: installed, upgraded, removed, purged; autopkgtest."""
import contextlib
import glob
import hashlib
import os
import re
import shutil
import subprocess

from machine import Machine
from service import (CONFIG, DATAGRAMS, SHIPPED, Clients, answers, cursor, datagram_client,
                     echoes, hold, journal, listener_pid, machine, main_pid, refused, state,
                     wait_active, wait_journal)
from harness import (BUILDDIR, case, child_pids, connect_to, exchange, main, note, read_exactly,
                     temporary_directory, wait_until)
from harness_commands import SYSTEM, all_commands, is_command, readme_lines

PACKAGES = os.environ["ECHOD_PACKAGES"]
INSIDE = "/root/packages"
SUPERVISOR, LISTENER = "/usr/sbin/echod", "/usr/libexec/echod/echod-listener"
HIGHER = "99.0-1"
CHANGED = SHIPPED + 'listen = {"localhost:7", "udp:127.0.0.1:7"}\n'


def package(name):
    """The package's file as seen from outside."""
    return glob.glob(f"{PACKAGES}/{name}_*.deb")[0]


def put(path):
    """Copies a file into the machine; its path there."""
    os.makedirs(machine.path(INSIDE), exist_ok=True)
    shutil.copy(path, machine.path(INSIDE))
    return f"{INSIDE}/{os.path.basename(path)}"


def apt_get(*arguments):
    machine.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-q",
                "-o", "APT::Get::Assume-No=false", *arguments, deadline_s=120)


def install():
    """The packages as they were built, over whatever is there."""
    apt_get("install", "--no-install-recommends", "--allow-downgrades", "--reinstall",
            "-o", "DPkg::Options::=--force-confold", "-o", "DPkg::Options::=--force-confmiss",
            put(package("echod")), put(package("echoctl")))


def purge():
    apt_get("purge", "echod", "echoctl")


def higher_version(folder):
    """The daemon's package again under a higher version, with other programs and settings in it."""
    tree = os.path.join(folder, "echod")
    subprocess.run(["dpkg-deb", "-R", package("echod"), tree], check=True)
    for name in (SUPERVISOR, LISTENER, CONFIG):
        with open(tree + name, "ab") as file:
            file.write(b"# the next version\n")
    control = os.path.join(tree, "DEBIAN/control")
    with open(control, encoding="utf-8") as file:
        lines = [f"Version: {HIGHER}\n" if line.startswith("Version: ") else line for line in file]
    with open(control, "w", encoding="utf-8") as file:
        file.writelines(lines)
    path = os.path.join(folder, f"echod_{HIGHER}.deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, path], check=True,
                   stdout=subprocess.DEVNULL)
    return path


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def runs_now(pid, name):
    """Whether this process runs the program that stands on the disk now."""
    return digest(f"/proc/{pid}/exe") == digest(machine.path(name))


def listening():
    """Local addresses of the TCP sockets that listen in the machine."""
    found = set()
    for name in ("tcp", "tcp6"):
        with open(f"/proc/{machine.leader}/net/{name}", encoding="ascii") as file:
            found.update(line.split()[1] for line in file if line.split()[3] == "0A")
    return found


@case("the client's package needs nothing of the daemon's")
def test_dependencies():
    depends = subprocess.run(["dpkg-deb", "-f", package("echoctl"), "Depends"], check=True,
                             capture_output=True, text=True).stdout
    names = {entry.split()[0] for entry in depends.split(",")}
    assert names == {"libc6", "libjansson4", "libsmartcols1"}, depends


@case("the installation opens the loopback port and nothing else")
def test_install():
    before = listening()
    install()
    assert listening() - before == {"0100007F:0007", "0" * 24 + "01000000:0007"}
    assert machine.systemctl("is-enabled", "echod.socket") == "enabled"
    assert (state("echod.socket"), state()) == ("active", "inactive")
    echoes()
    wait_active()


@case("start, enable, reload and the journal are as a user expects")
def test_user():
    install()
    since = cursor()
    machine.systemctl("stop", "echod.service", "echod.socket")
    assert refused()
    machine.systemctl("start", "echod")
    echoes()
    machine.systemctl("disable", "--now", "echod.socket")
    assert refused() and state() == "inactive"
    machine.systemctl("enable", "--now", "echod.socket")
    echoes()
    pid = machine.show("MainPID")
    machine.systemctl("reload", "echod")
    assert machine.show("MainPID") == pid
    wait_journal(since, lambda entry: entry["MESSAGE"].startswith("closed peer=127.0.0.1:"),
                 "closing lines")
    assert "closed peer=" in machine.run("journalctl", "-u", "echod").stdout
    assert machine.run("echoctl", "send", "localhost", stdin="hello\n").stdout.startswith("hello\n")


@case("an upgrade loses no connection: same process, and new ones get the new program")
def test_upgrade():
    install()
    echoes()
    pid, inner, old_listener = main_pid(), machine.show("MainPID"), listener_pid()
    held = [hold() for _ in range(5)]
    clients = Clients()
    with temporary_directory() as folder:
        apt_get("install", "--no-install-recommends", put(higher_version(folder)))
    assert machine.run("dpkg-query", "-W", "-f", "${Version}", "echod").stdout == HIGHER
    wait_until(lambda: listener_pid() != old_listener, "a new listener runs")
    clients.more()
    clients.finish()
    assert (main_pid(), machine.show("MainPID"), machine.show("NRestarts")) == (pid, inner, "0")
    assert runs_now(pid, SUPERVISOR), "the supervisor is the old program"
    assert runs_now(listener_pid(), LISTENER), "the listener is the old program"
    with hold():
        workers = wait_until(lambda: child_pids(listener_pid()), "a worker of the new listener")
        assert runs_now(workers[0], LISTENER)
    assert not runs_now(old_listener, LISTENER), "the held connections' listener is the old one"
    for sock in held:
        sock.sendall(b"across")
        assert read_exactly(sock, 6) == b"across"
        sock.close()


@case("an upgrade keeps a configuration that was edited, and a stopped service stopped")
def test_upgrade_quiet():
    install()
    machine.write(CONFIG, CHANGED)
    machine.systemctl("stop", "echod.service")
    with temporary_directory() as folder:
        apt_get("install", "--no-install-recommends", "-o", "DPkg::Options::=--force-confold",
                put(higher_version(folder)))
    with open(machine.path(CONFIG), encoding="utf-8") as file:
        assert file.read() == CHANGED
    assert (state("echod.socket"), state()) == ("active", "inactive")


@case("a removal ends all and keeps the configuration; a purge leaves nothing")
def test_remove():
    purge()
    before, open_before = machine.files(), listening()
    install()
    machine.write(CONFIG, CHANGED)
    machine.systemctl("daemon-reload")
    machine.systemctl("restart", "echod.socket")
    with hold(), datagram_client() as sock:
        assert answers(sock)
        apt_get("remove", "echod", "echoctl")
        assert not answers(sock)
    assert listening() == open_before and not machine.run("pgrep", "echod", check=False).stdout
    with open(machine.path(CONFIG), encoding="utf-8") as file:
        assert file.read() == CHANGED
    install()
    with open(machine.path(CONFIG), encoding="utf-8") as file:
        assert file.read() == CHANGED
    echoes()
    with datagram_client() as sock:
        assert answers(sock)
    purge()
    left = machine.files() - before
    assert not {name for name in left if not name.startswith(INSIDE)}, left
    assert not before - machine.files()
    assert "echod" not in machine.run("ls", "-R", "/var/lib/systemd", "/run/systemd").stdout
    assert machine.run("getent", "passwd", "echod", check=False).stdout == ""


def commands_of(text):
    """The commands that echod's warning names between double quotes."""
    return text.split('"')[1]


@case("listen in echod.conf moves the socket by the commands that the warning names")
def test_listen():
    install()
    echoes()
    machine.write(CONFIG, SHIPPED + 'listen = {"127.0.0.1:7007", "[::1]:7007"}\n')
    since = cursor()
    machine.systemctl("reload", "echod")
    warning = wait_journal(since, lambda entry: "listen is ignored" in entry["MESSAGE"],
                           "the warning")[0]["MESSAGE"]
    note(warning)
    assert exchange(connect_to("127.0.0.1:7"), b"still") == b"still"
    test = machine.run("echod", "-t").stdout
    assert commands_of(warning) in test, test
    machine.run("sh", "-c", commands_of(warning))
    assert exchange(connect_to("127.0.0.1:7007"), b"moved") == b"moved"
    assert exchange(connect_to("[::1]:7007"), b"moved") == b"moved"
    assert refused("127.0.0.1:7")
    since = cursor()
    machine.systemctl("restart", "echod.service")
    assert exchange(connect_to("127.0.0.1:7007"), b"moved") == b"moved"
    assert not [entry for entry in journal(since) if "is ignored" in entry["MESSAGE"]]
    machine.write(CONFIG, SHIPPED)
    machine.run("sh", "-c", commands_of(warning))
    echoes()
    assert refused("127.0.0.1:7007")


@case("a bad configuration does not harm what systemd reads at boot")
def test_bad_listen():
    install()
    for text in ('listen = {"nowhere"}\n', "listen = {", "\0\1\2", 'listen = {"unix:relative"}\n',
                 'listen = {"127.0.0.1:7007"}\nnonsense = 1\n'):
        machine.write(CONFIG, text)
        since = cursor()
        machine.systemctl("daemon-reload")
        wait_until(lambda since=since: re.search(rf"echod-generator\[\d+\]: {CONFIG}:", machine.run(
            "journalctl", "-q", f"--after-cursor={since}").stdout), f"the log about {text!r}")
        machine.systemctl("restart", "echod.socket")
        assert sorted(machine.show("Listen", "echod.socket").split()) == sorted(
            ["127.0.0.1:7", "(Stream)", "[::1]:7", "(Stream)"]), text
    assert machine.systemctl("is-system-running", check=False) in ("running", "degraded")
    machine.write(CONFIG, SHIPPED)
    machine.systemctl("daemon-reload")
    machine.systemctl("reset-failed", "echod.service", "echod.socket", check=False)
    machine.systemctl("restart", "echod.socket")
    echoes()


def unpacked(folder):
    """Both packages' files as a boot finds them, with the socket enabled: name inside to path."""
    wanted = "/etc/systemd/system/sockets.target.wants"
    for name in ("echod", "echoctl"):
        subprocess.run(["dpkg-deb", "-x", package(name), folder], check=True)
    os.makedirs(folder + wanted)
    os.symlink("/lib/systemd/system/echod.socket", folder + wanted + "/echod.socket")
    files = [os.path.join(top, name) for top, _, names in os.walk(folder) for name in names
             if not os.path.islink(os.path.join(top, name)) and "/share/" not in top]
    return {wanted: folder + wanted, **{path[len(folder):]: path for path in files}}


@contextlib.contextmanager
def booted(text):
    """A machine that boots with these settings; and the path of their file."""
    with temporary_directory() as folder:
        files = unpacked(folder)
        with open(files[CONFIG], "w", encoding="utf-8") as file:
            file.write(text)
        rebooted = Machine(os.path.join(BUILDDIR, "machine-boot"), files)
        try:
            yield rebooted, files[CONFIG]
        finally:
            rebooted.stop()


@case("a machine boots with a bad configuration, and serves once that is mended")
def test_boot_bad():
    with booted('listen = {"127.0.0.1:7007", "nowhere"\n\1') as (rebooted, path):
        assert rebooted.systemctl("is-active", "multi-user.target") == "active"
        assert rebooted.systemctl("--failed", "--plain", "--no-legend") == ""
        assert sorted(rebooted.show("Listen", "echod.socket").split()) == sorted(
            ["127.0.0.1:7", "(Stream)", "[::1]:7", "(Stream)"])
        with open(path, "w", encoding="utf-8") as file:
            file.write('listen = {"127.0.0.1:7007"}\n')
        rebooted.systemctl("daemon-reload")
        rebooted.systemctl("restart", "echod.socket")
        told = rebooted.run("echoctl", "-q", "127.0.0.1:7007", stdin="mended\n").stdout
        assert told == "mended\n", told


@case("a machine boots with UDP open, beside TCP or alone")
def test_boot_datagrams():
    for text in (DATAGRAMS, 'listen = {"udp:127.0.0.1:7"}\n'):
        with booted(text) as (rebooted, _):
            assert rebooted.systemctl("--failed", "--plain", "--no-legend") == ""
            assert rebooted.show("ActiveState") == "inactive"
            rebooted.run("echoctl", "check", "--udp", "-H", "127.0.0.1")


@case("what README and the manuals tell to type on a running system works")
def test_documents():
    install()
    echoes()
    settings = [line for line in readme_lines() if not is_command(line)]
    assert settings[0].startswith("listen = "), settings
    machine.write(CONFIG, "\n".join(settings) + "\n")
    commands = [line for line in all_commands() if re.match(SYSTEM, line)]
    assert len(commands) >= 7, commands
    for command in commands:
        note(command)
        machine.run("sh", "-c", command)
        echoes()
    assert {"00000000:0007", "0" * 32 + ":0007"} <= listening()
    with datagram_client() as sock:
        assert answers(sock)
    machine.write(CONFIG, SHIPPED)
    machine.systemctl("daemon-reload")
    machine.systemctl("restart", "echod.socket")


@case("autopkgtest runs the tests of the source package, and all pass")
def test_autopkgtest():
    install()
    with temporary_directory() as folder:
        source = os.path.join(folder, "source")
        subprocess.run(["dpkg-source", "--no-check", "-x", glob.glob(f"{PACKAGES}/*.dsc")[0],
                        source], check=True, stdout=subprocess.DEVNULL)
        shutil.copytree(source, machine.path(INSIDE + "/source"))
    machine.write(INSIDE + "/source/debian/files", "")  # the sign that nothing is to be built
    machine.run("sh", "-c", "rm -rf /etc/apt/sources.list*; mkdir /etc/apt/sources.list.d")
    result = machine.run("autopkgtest", "--ignore-restrictions=isolation-machine",
                         "--no-built-binaries", INSIDE + "/source/", "--", "null",
                         check=False, deadline_s=150)
    note("\n".join(line for line in result.stdout.splitlines() if " PASS" in line))
    assert result.returncode == 0, result.stdout[-6000:]
    assert result.stdout.count(" PASS") >= 4, result.stdout[-3000:]


main()
