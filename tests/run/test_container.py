#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echod as a container runs it: process 1 of namespaces, alone in a read-only root, no privilege."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess

from harness import (DEADLINE_S, SRCDIR, Echod, Process, Skip, case, child_pids, descendant_pids,
                     exchange, foreign, is_zombie, main, process_stat, program, read_exactly,
                     status_fields, temporary_directory, wait_until)

try:
    import yaml
except ImportError:
    yaml = None

ID = "65532"
# What a runtime does before it executes the entry point as process 1.
RUNTIME = """
root=$1
shift
ip link set lo up
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind /dev/null "$root/dev/null"
mount -o remount,bind,ro "$root"
export LISTEN_PID=1
exec setpriv --no-new-privs chroot --userspec=$ID:$ID --groups= "$root" "$@"
"""
WHERE = {"echod": "usr/sbin/echod", "echoctl": "usr/bin/echoctl",
         "echod-listener": "usr/libexec/echod/echod-listener"}


def read(name):
    with open(os.path.join(SRCDIR, "etc/container", name), encoding="utf-8") as file:
        return file.read()


def image_arguments():
    """CMD of the Containerfile."""
    return json.loads(re.search(r"^CMD (.*)", read("Containerfile"), re.MULTILINE)[1])


def manifests():
    """The objects of echo.yaml by kind."""
    if not yaml:
        raise Skip("python3-yaml is not installed")
    return {item["kind"]: item for item in yaml.safe_load_all(read("echo.yaml"))}


def make_root(folder, config):
    """What the Containerfile copies into the image."""
    for name, path in WHERE.items():
        libraries = subprocess.run(["ldd", program(name)], capture_output=True, text=True,
                                   check=False).stdout
        for source, path in [(program(name), path),
                             *((path, path[1:]) for path in re.findall(r"/lib\S*", libraries))]:
            os.makedirs(os.path.join(folder, os.path.dirname(path)), exist_ok=True)
            shutil.copy(source, os.path.join(folder, path))
    for path in ("etc", "proc", "dev"):
        os.mkdir(os.path.join(folder, path))
    for path, text in (("etc/echod.conf", config), ("dev/null", "")):
        with open(os.path.join(folder, path), "w", encoding="utf-8") as file:
            file.write(text)


class Container(Process):
    """echod in namespaces of its own; leader is its process 1 as we see it."""

    def __init__(self, root, *arguments, env=None, **options):
        if os.geteuid() != 0:
            raise Skip("makes namespaces and becomes another user as root")
        settings = {**Echod.environment(env), "ID": ID,
                    "ECHOD_LISTENER": "/" + WHERE["echod-listener"]}
        super().__init__("echod", [
            foreign("unshare"), "--mount", "--pid", "--net", "--ipc", "--uts", "--fork",
            "--kill-child", "sh", "-ec", RUNTIME, "sh", root, "/usr/sbin/echod", "-c",
            "/etc/echod.conf", *arguments],
            settings, **options)
        self.wait_log("ready|listening on ")
        [self.leader] = child_pids(self.pid)

    def run(self, *command, inside=True):
        """A command in it, as podman exec; not inside: ours, on its network."""
        spaces = ["--mount", "--pid", "--net", "--root", "--wd", "-S", ID, "-G", ID]
        return subprocess.run(
            [foreign("nsenter"), "-t", str(self.leader), *(spaces if inside else ["--net"]), "--",
             *command], capture_output=True, text=True, timeout=DEADLINE_S, check=False)

    def hold(self, *arguments):
        """An echoctl on its network that keeps a connection until its input ends."""
        client = subprocess.Popen(
            [foreign("nsenter"), "-t", str(self.leader), "--net", "--", program("echoctl"),
             *arguments, "127.0.0.1:7007"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        client.stdin.write(b"held\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"held\n"
        return client

    def workers(self):
        """Everything below process 1 but the listener."""
        return [pid for child in child_pids(self.leader) for pid in child_pids(child)]


@contextlib.contextmanager
def container(*arguments, config=None, **options):
    with temporary_directory() as root:
        make_root(root, read("echo.conf") if config is None else config)
        box = Container(root, *arguments, **options)
        yield box
        with contextlib.suppress(ProcessLookupError):
            os.kill(box.leader, signal.SIGTERM)
        assert box.wait() == 0, box.log()


@case("alone in a read-only root as process 1, another user, no capability: it serves and drains")
def test_alone():
    with container(*image_arguments()) as box:
        fields = status_fields(box.leader)
        assert fields["NSpid"].split()[-1] == "1", fields["NSpid"]
        assert fields["Uid"].split() == [ID] * 4 and not fields["Groups"].strip(), fields
        assert int(fields["CapPrm"], 16) == 0 and fields["NoNewPrivs"].strip() == "1", fields
        result = box.run(program("echoctl"), "load", "-c", "8", "-n", "200", "127.0.0.1:7007",
                         inside=False)
        assert result.returncode == 0, result
        client = box.hold()
        os.kill(box.leader, signal.SIGTERM)
        box.wait_log("stopping: 1 active")
        out, _ = client.communicate(b"last\n", DEADLINE_S)
        assert out == b"last\n" and client.returncode == 0, out
        box.wait_log("closed peer=127.0.0.1:.* bytes-in=10 .* end=fin")
        assert not any("control" in line for line in box.log()), box.log()


@case("process 1 reaps the workers of a listener that died, and the orphans of others")
def test_reaps():
    with container(*image_arguments()) as box:
        client = box.hold()
        [listener] = child_pids(box.leader)
        [worker] = wait_until(box.workers, "a worker runs")
        os.kill(listener, signal.SIGKILL)
        wait_until(lambda: process_stat(worker)[2] == box.leader, "the worker is adopted")
        box.wait_log("listener .* SIGKILL|listener .*signal")
        # what podman exec started and left
        result = subprocess.run([foreign("nsenter"), "-t", str(box.leader), "--pid", "--", "sh",
                                 "-c", "sleep 0.01 >/dev/null 2>&1 & exit 0"],
                                timeout=DEADLINE_S, check=False)
        assert result.returncode == 0
        out, _ = client.communicate(b"last\n", DEADLINE_S)
        assert out == b"last\n" and client.returncode == 0, out
        box.wait_log(r"closed peer=127\.0\.0\.1:.* end=fin")
        wait_until(lambda: len(descendant_pids(box.leader)) == 1, "only the new listener is left")
        assert not any(map(is_zombie, descendant_pids(box.leader)))


@case("without network, /run and /dev/log it serves a passed socket and logs")
def test_passed_socket():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()

        def pass_socket():
            os.dup2(listener.fileno(), 3)
            os.set_inheritable(3, True)

        with container(env={"LISTEN_FDS": "1"}, pass_fds=(3,),
                       preexec_fn=pass_socket) as box:
            assert exchange(socket.create_connection(address, DEADLINE_S), b"passed") == b"passed"
            box.wait_log(r"closed peer=127\.0\.0\.1:")
            assert not any("listen is ignored" in line for line in box.log()), box.log()


@case("the settings and the probes of echo.yaml do in the container what they promise")
def test_kubernetes():
    objects = manifests()
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    [image] = pod["containers"]
    config = objects["ConfigMap"]["data"]["echod.conf"]
    assert image["args"] == ["-c", "/etc/echod/echod.conf"]
    assert str(pod["securityContext"]["runAsUser"]) == ID
    drain_s = int(re.search(r'drain = "(\d+)s"', config)[1])
    pause_s = image["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pause_s + drain_s + 2 < pod["terminationGracePeriodSeconds"]
    with container(config=config) as box:
        for name in ("readinessProbe", "livenessProbe"):
            probe = image[name]
            command = probe["exec"]["command"]
            assert int(command[command.index("-t") + 1]) < probe["timeoutSeconds"], probe
            result = box.run(*command)
            assert result.returncode == 0 and result.stdout.startswith("ECHO OK"), result
        result = box.run("/usr/bin/echoctl", "check", "--udp", "-H", "127.0.0.1", "-p", "7007")
        assert result.returncode == 0 and result.stdout.startswith("ECHO OK"), result
    ports = {(port["name"], port["protocol"]) for port in image["ports"]}
    assert ports == {(port["targetPort"], port["protocol"])
                     for port in objects["Service"]["spec"]["ports"]}


@case("the settings of the image pass the test of the daemon")
def test_settings():
    result = subprocess.run([program("echod"), "-t", "-c",
                             os.path.join(SRCDIR, "etc/container/echo.conf")],
                            capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert result.returncode == 0 and result.stdout.endswith(": OK\n"), result


main()
