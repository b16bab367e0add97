# SPDX-License-Identifier: MIT
"""A booted systemd to test in: a Debian tree made once, run by systemd-nspawn on an overlay."""
import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../run"))
from harness import child_pids, descendant_pids, status_fields, wait_until  # noqa: E402

PACKAGES = ["autopkgtest", "dbus", "libconfuse2", "libjansson4", "libseccomp2", "libsystemd0",
            "netcat-openbsd", "socat", "systemd", "systemd-sysv"]
CLONE_NEWNET = 0x40000000
CGROUPS = "/sys/fs/cgroup"


def archive():
    """The suite of this machine, and where apt has it from."""
    targets = subprocess.run(["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)",
                              "Created-By: Packages", "Label: Debian"],
                             check=True, capture_output=True, text=True).stdout
    assert targets, "apt knows no Debian archive here (apt-get update)"
    return targets.splitlines()[0].split()


def base_tree():
    """The path of the tree; made when it is not in the cache or the packages have changed."""
    cache = os.environ.get("XDG_CACHE_HOME") or "/var/cache"
    suite, uri = archive()
    digest = hashlib.sha256(" ".join([suite, *PACKAGES]).encode()).hexdigest()[:12]
    tree = os.path.join(cache, "echod-dev", f"tree-{digest}")
    os.makedirs(os.path.dirname(tree), exist_ok=True)
    with open(tree + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)    # another run may be making it
        if not os.path.exists(os.path.join(tree, ".complete")):
            shutil.rmtree(tree, ignore_errors=True)
            subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase",
                            "--include=" + ",".join(PACKAGES), suite, tree, uri],
                           check=True, stdin=subprocess.DEVNULL)
            with open(os.path.join(tree, ".complete"), "w", encoding="ascii"):
                pass
    return tree


def remove_left_groups():
    """Control groups that a machine which was killed has left: the next one could not boot."""
    for hierarchy in ("unified", "systemd", "."):
        for name in ("payload", "supervisor"):
            top = os.path.join(CGROUPS, hierarchy, name)
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):      # somebody is in it
                    os.rmdir(folder)


def with_cgroups(*command):
    """The command, run where the hierarchy of cgroups is the one that systemd knows today."""
    if os.path.exists(os.path.join(CGROUPS, "cgroup.controllers")):
        return command
    return ["unshare", "--mount", "--propagation=private", "sh", "-c",
            f'mount -t cgroup2 cgroup2 {CGROUPS} && exec "$@"', "sh", *command]


class Machine:
    """The booted system. Nothing that is done in it is kept.

    binds: names inside, each with the path outside that stands there already when it boots.
    """

    def __init__(self, stage, binds=None):
        remove_left_groups()
        self._console = open(stage + "-console.log", "wb")
        # the tree itself is only read: several machines can stand on it
        environment = {**os.environ, "SYSTEMD_NSPAWN_LOCK": "0"}
        self._nspawn = subprocess.Popen(
            with_cgroups(
                "systemd-nspawn", "-q", "-D", base_tree(), "--keep-unit", "--register=no",
                f"--machine={os.path.basename(stage)}-{os.getpid()}",
                "--private-network", "--volatile=overlay", "--hostname=echod-test",
                "--console=pipe", *(f"--bind={outside}:{inside}"
                                    for inside, outside in (binds or {}).items()), "-b"),
            env=environment, stdin=subprocess.DEVNULL, stdout=self._console,
            stderr=subprocess.STDOUT)
        try:
            self.leader = wait_until(self._find_leader, "systemd runs", deadline_s=120)
            wait_until(self._is_booted, "the system is booted", deadline_s=120)
            self.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
        except BaseException:
            self.stop()
            raise

    def _find_leader(self):
        assert self._nspawn.poll() is None, "systemd-nspawn has ended, see stage-console.log"
        for pid in descendant_pids(self._nspawn.pid):
            status = status_fields(pid)
            if status and status["NSpid"].split()[-1] == "1" and status["Name"] == "systemd":
                return pid
        return None

    def _is_booted(self):
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def run(self, *command, check=True, deadline_s=60, stdin=None):
        """Runs a command inside; the result has returncode and stdout (both streams, text)."""
        result = subprocess.run(
            ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "--", *command],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, input=stdin,
            timeout=deadline_s, check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                 "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"})
        if check and result.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: status {result.returncode}: "
                                 f"{result.stdout}")
        return result

    def systemctl(self, *arguments, check=True):
        """systemctl inside; its output."""
        return self.run("systemctl", "--no-pager", *arguments, check=check).stdout.strip()

    def show(self, name, unit="echod.service"):
        """One property of a unit."""
        return self.systemctl("show", "--value", "-p", name, unit)

    def path(self, name):
        """A path inside as seen from outside."""
        return f"/proc/{self.leader}/root{name}"

    def write(self, name, text):
        """Writes a file inside."""
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def files(self):
        """Every path that is kept over a boot, without what programs write as they go."""
        found = set()
        skipped = ("/dev", "/proc", "/run", "/sys", "/tmp", "/var/cache", "/var/lib/apt",
                   "/var/lib/dpkg", "/var/lib/systemd", "/var/log", "/var/tmp")
        root = self.path("")
        for folder, folders, names in os.walk(root):
            inside = folder[len(root):]
            folders[:] = [name for name in folders if f"{inside}/{name}" not in skipped]
            found.update(f"{inside}/{name}" for name in folders + names)
        return found

    def install(self, stage):
        """Copies an installed tree over the system's."""
        with subprocess.Popen(["tar", "-C", stage, "-c", "."], stdout=subprocess.PIPE) as pack:
            subprocess.run(["tar", "-C", self.path("/"), "-x", "--no-same-owner",
                            "--keep-directory-symlink"], stdin=pack.stdout, check=True)
        self.systemctl("daemon-reload")

    def enter_network(self):
        """From now on this process connects inside the machine."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/proc/{self.leader}/ns/net", "rb") as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    def stop(self):
        """Ends everything inside, and systemd-nspawn."""
        for pid in child_pids(self._nspawn.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        try:
            self._nspawn.wait(30)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._console.close()
