#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The container image: built from its Containerfile without a network, and run by podman."""
import atexit
import contextlib
import ctypes
import functools
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import tempfile

from harness import (DEADLINE_S, SRCDIR, Echod, Process, Skip, case, connect_to, exchange, foreign,
                     main, read_exactly, wait_accepts, wait_until)

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
BUILD_DEADLINE_S = 500
IMAGE = "localhost/echod"
# Only this process and what it starts sees these. A kernel whose controllers belong to the first
# version of cgroups still has the second one, without controllers, which is all that crun wants.
PRIVATE = """
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
"""
# What quadlet(8) makes of the keys of a container unit.
QUADLET = {
    "Network": "--network={}", "PodmanArgs": "{}",
    "ReadOnly": "--read-only", "NoNewPrivileges": "--security-opt=no-new-privileges",
    "DropCapability": "--cap-drop={}", "Notify": "--sdnotify=container",
    "ContainerName": "--name={}",
}


def read(name):
    with open(os.path.join(SRCDIR, "etc/container", name), encoding="utf-8") as file:
        return file.read()


@functools.cache
def own_namespaces():
    """This process gets mounts and a network of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
        raise Skip("no namespaces of its own: " + os.strerror(ctypes.get_errno()))
    result = subprocess.run(["sh", "-ec", PRIVATE], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Skip("mounts are refused: " + result.stderr)


@functools.cache
def folder():
    """Where the images of this test are."""
    path = tempfile.mkdtemp(prefix="echod-test-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def tool(name, *arguments):
    """buildah or podman, with a place of its own for images and containers."""
    own_namespaces()
    options = ["--root", folder() + "/root", "--runroot", folder() + "/run",
               "--storage-driver", "vfs"]
    if name == "podman":
        foreign("crun")
        options += ["--tmpdir", folder() + "/tmp", "--runtime", "crun", "--cgroup-manager",
                    "cgroupfs", "--events-backend", "none"]
    return [foreign(name), *options, *arguments]


def run(name, *arguments, deadline_s=DEADLINE_S):
    """What it prints; it has to succeed."""
    result = subprocess.run(tool(name, *arguments), capture_output=True, text=True,
                            timeout=deadline_s, check=False)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-5000:]
    return result.stdout.strip()


def make_base():
    """An image with the packages of this system: /usr itself comes in while it is used."""
    container = run("buildah", "from", "scratch")
    root = run("buildah", "mount", container)
    for name in os.listdir("/"):
        if os.path.islink("/" + name) and os.readlink("/" + name).startswith("usr/"):
            os.symlink(os.readlink("/" + name), os.path.join(root, name))
    for path in ("usr", "etc/alternatives", "tmp", "proc", "dev", "sys", "var/lib/dpkg/info",
                 "var/lib/dpkg/updates", "var/lib/apt/lists/partial", "var/log/apt",
                 "var/cache/apt/archives/partial"):
        os.makedirs(os.path.join(root, path))
    for path in ("var/lib/dpkg/status", "etc/passwd", "etc/group"):
        shutil.copy("/" + path, os.path.join(root, path))
    run("buildah", "commit", "-q", container, "localhost/base")
    run("buildah", "rm", container)


@functools.cache
def built():
    """Builds the image once."""
    make_base()
    run("buildah", "bud", "--isolation", "chroot", "--network", "host", "--pull-never",
        "--layers=false", "-v", "/usr:/usr:ro", "-v", "/etc/alternatives:/etc/alternatives:ro",
        "--build-arg", "BASE=localhost/base", "-t", IMAGE, "-f",
        os.path.join(SRCDIR, "etc/container/Containerfile"), SRCDIR,
        deadline_s=BUILD_DEADLINE_S)


def limits():
    """podman sets higher ones, for which this process may not have the right."""
    return [f"--ulimit={name}={most}:{most}" for name, most in (
        (name, min(resource.getrlimit(number)[1] % (1 << 64), 4096)) for name, number in (
            ("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)))]


@contextlib.contextmanager
def container(options, *arguments, passed=None, env=None):
    """podman that runs the image, in the foreground."""
    built()
    command = tool("podman", "run", "--rm", "--pull=never", "--log-driver=passthrough",
                   "--cgroups=disabled", *limits(), *options, IMAGE, *arguments)

    def pass_socket():
        os.dup2(passed.fileno(), 3)
        os.set_inheritable(3, True)

    process = Process("podman", ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *command],
                      Echod.environment(env),
                      **({"pass_fds": (3,), "preexec_fn": pass_socket} if passed else {}))
    try:
        yield process
    finally:
        run("podman", "rm", "--force", "--all", "--time", "0")


@case("the Containerfile makes an image of the programs, their libraries and one file of settings")
def test_build():
    built()
    [image] = json.loads(run("podman", "image", "inspect", IMAGE))
    config = image["Config"]
    assert config["User"] == "65532:65532" and config["Entrypoint"] == ["/usr/sbin/echod"], config
    assert config["Cmd"] == ["-l", "*:7007"] and "7007/tcp" in config["ExposedPorts"], config
    root = run("podman", "image", "mount", IMAGE)
    files = {os.path.relpath(os.path.join(path, name), root)
             for path, _, names in os.walk(root) for name in names}
    libraries = {path for path in files if re.fullmatch(r"lib\S*/\S+\.so\.\d+", path)}
    assert files - libraries == {"etc/echod.conf", "usr/bin/echoctl", "usr/sbin/echod",
                                 "usr/libexec/echod/echod-listener"}, files
    assert any("libsystemd" in path for path in libraries), libraries
    run("podman", "image", "unmount", IMAGE)


@case("podman runs it read-only and without capabilities: it serves, reloads, drains")
def test_run():
    settings = os.path.join(folder(), "echod.conf")
    shutil.copy(os.path.join(SRCDIR, "etc/container/echo.conf"), settings)
    with container(["--name=echo", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all",
                    "--network=host", "-v", f"{settings}:/etc/echod.conf:ro"]) as podman:
        podman.wait_log("listening on ")
        wait_accepts("127.0.0.1:7007")
        held = connect_to("127.0.0.1:7007")
        held.sendall(b"held")
        assert read_exactly(held, 4) == b"held"
        for probe in re.findall(r"command: \[(.*?)\]", read("echo.yaml")):
            command = [word.strip(' "') for word in probe.split(",")]
            assert run("podman", "exec", "echo", *command).startswith("ECHO OK"), command
        with open(settings, "a", encoding="utf-8") as file:
            file.write("limits { connections = 77 }\n")
        run("podman", "kill", "--signal", "HUP", "echo")
        podman.wait_log("new settings are in force")
        held.sendall(b"goes on")
        assert read_exactly(held, 7) == b"goes on"
        run("podman", "kill", "--signal", "TERM", "echo")
        podman.wait_log("stopping: 1 active")
        assert exchange(held, b"last") == b"last"
        assert podman.wait() == 0, podman.log()


@case("the options of the quadlet: no network, passed sockets, ready by its own word, a clean stop")
def test_quadlet():
    unit = read("echo.container")
    keys = re.findall(r"^(\w+)=(.*)", unit.split("[Container]")[1].split("[Service]")[0], re.M)
    options = [QUADLET[name].format(value) for name, value in keys
               if name not in ("Image", "Exec") and value != "false"]
    words = [word for option in options for word in option.split()]
    # which needs a controller of cgroups
    words = [word for word in words if not word.startswith("--pids-limit=")]
    assert dict(keys)["Image"].partition(":")[0] == IMAGE
    notified = os.path.join(folder(), "notify")
    with socket.create_server(("127.0.0.1", 0)) as listening, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(notified)
        manager.settimeout(DEADLINE_S)
        with container(words, *dict(keys)["Exec"].split(), passed=listening,
                       env={"LISTEN_FDS": "1", "NOTIFY_SOCKET": notified}) as podman:
            wait_until(lambda: b"READY=1" in manager.recv(4096), "it is ready")
            address = "127.0.0.1:%d" % listening.getsockname()[1]
            assert exchange(connect_to(address), b"passed") == b"passed"
            podman.wait_log(r"closed peer=127\.0\.0\.1:\d+ .* end=fin")
            run("podman", "stop", "echo")
            podman.wait_log("stopped$")
            assert podman.wait() == 0, podman.log()


main()
