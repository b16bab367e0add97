#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Names in the settings: a service that does not answer holds nothing up but the reload."""
import contextlib
import json
import os
import signal
import subprocess
import sys

from harness import (Echod, Skip, case, child_pids, foreign, main, run_echoctl,
                     temporary_directory, wait_until)

# A network and files of its own, where the only name server is one that never answers.
SILENT_RESOLVER = """
import os, socket, subprocess, sys
folder = sys.argv[1]
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
for name in ("resolv.conf", "nsswitch.conf", "hosts"):
    subprocess.run(["mount", "--bind", f"{folder}/{name}", f"/etc/{name}"], check=True)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
server.set_inheritable(True)
os.execv(sys.argv[2], sys.argv[2:])
"""
FILES = {"resolv.conf": "nameserver 127.0.0.1\noptions timeout:30\n",
         "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
         "hosts": "127.0.0.1 localhost known.test\n"}
SETTINGS = {"listen": ["127.0.0.1:0"]}


def command(folder):
    if os.geteuid() != 0:
        raise Skip("needs root")
    for name, text in FILES.items():
        with open(f"{folder}/{name}", "w", encoding="ascii") as file:
            file.write(text)
    os.chmod(folder, 0o755)
    foreign("ip", "mount")
    return [foreign("unshare"), "-mn", sys.executable, "-c", SILENT_RESOLVER, folder]


def status(echod):
    """What the event loop says."""
    result = run_echoctl("--control", echod.folder + "/control", "--json", "status")
    assert result.returncode == 0, result
    return json.loads(result.stdout)


def asking_child(echod):
    """The process that waits for the resolver."""
    def find():
        with contextlib.suppress(FileNotFoundError):    # one of them has ended
            return [pid for pid in child_pids(echod.pid)
                    if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "echod"]
        return []
    return wait_until(find, "somebody asks")[0]


@case("a new name is looked up, one that is bound is not asked for again")
def test_known():
    with temporary_directory() as folder, \
            Echod(SETTINGS, listen=(), command=command(folder)) as echod:
        for address in ("known.test:7007", "known.test:7009"):
            mark = echod.reload({"listen": ["127.0.0.1:0", address]})
            echod.wait_log("new settings are in force", since=mark)
            wanted = "127.0.0.1" + address[-5:]
            assert wanted in [sock["address"] for sock in status(echod)["sockets"]]
        with open(f"{folder}/hosts", "w", encoding="ascii"):
            pass    # now nobody knows it
        mark = echod.reload({"listen": ["127.0.0.1:0", "known.test:7009"],
                             "limits": {"connections": 7}})
        echod.wait_log("new settings are in force", since=mark)


@case("while a resolver is silent the daemon answers, replaces its listener, and stops at once")
def test_silent():
    with temporary_directory() as folder, \
            Echod(SETTINGS, listen=(), command=command(folder)) as echod:
        echod.reload({"listen": ["127.0.0.1:0", "unknown.test:7"]})
        child = asking_child(echod)
        assert status(echod)["reloading"]
        os.kill(status(echod)["generations"][0]["listener_pid"], signal.SIGKILL)
        echod.wait_log("was killed by signal 9")
        # between the old one and the new one there is none
        wait_until(lambda: "serving" in [item["state"] for item in status(echod)["generations"]],
                   "a new listener serves")
        assert status(echod)["reloading"] and asking_child(echod) == child
        assert not [line for line in echod.log() if "in force" in line], echod.log()


@case("a name service that ends without an answer leaves the old settings in force")
def test_no_answer():
    with temporary_directory() as folder, \
            Echod(SETTINGS, listen=(), command=command(folder)) as echod:
        mark = echod.reload({"listen": ["127.0.0.1:0", "unknown.test:7"]})
        os.kill(asking_child(echod), signal.SIGKILL)
        echod.wait_log("unknown.test:7: the name service gave no answer", since=mark)
        echod.wait_log("the old settings stay in force", since=mark)
        assert not status(echod)["reloading"]
        mark = echod.reload(SETTINGS)
        echod.wait_log("new settings are in force", since=mark)


@case("a new group is looked up beside the loop, one that is known is not asked for again")
def test_group():
    def settings(group):
        return dict(SETTINGS, control={"path": echod.folder + "/control", "group": group})

    with temporary_directory() as folder, \
            Echod(SETTINGS, listen=(), command=command(folder)) as echod:
        for group, wanted in (("no-such-group", "no such group"), ("daemon", None)):
            mark = echod.reload(settings(group))
            if wanted:
                echod.wait_log(rf'^echod: {echod.config}:\d+: control.group: "{group}": {wanted}$',
                               since=mark)
            echod.wait_log("the old settings stay" if wanted else "new settings are in force",
                           since=mark)
        os.mkfifo(folder + "/group")
        subprocess.run([foreign("nsenter"), "-t", str(echod.pid), "-m", "mount", "--bind",
                        folder + "/group", "/etc/group"], check=True)
        mark = echod.reload(settings("daemon"))
        echod.wait_log("new settings are in force", since=mark)
        mark = echod.reload(settings("operators"))
        child = asking_child(echod)
        assert status(echod)["reloading"]
        os.kill(child, signal.SIGKILL)
        echod.wait_log(r":\d+: control.group: the name service gave no answer", since=mark)
        echod.wait_log("the old settings stay in force", since=mark)


main()
