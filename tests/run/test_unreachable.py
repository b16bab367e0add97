#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Started as root from folders that only root may enter: what was open before is used after."""
import os
import shutil
import signal
import tempfile

from harness import Echod, Skip, case, exchange, main, process_stat, program, wait_until


def need_root():
    if os.geteuid() != 0:
        raise Skip("only root gives up privilege")


def close_folder(echod):
    """From now on the service user cannot walk the path of the configuration file."""
    os.chmod(echod.folder, 0o700)


def rewrite(echod, text):
    """Changes the file in place: the one that is held, not another one."""
    with open(echod.config, "r+", encoding="utf-8") as file:
        file.truncate()
        file.write(text)
    mark = echod.log_mark()
    echod.signal(signal.SIGHUP)
    return mark


@case("the configuration file is re-read through the descriptor that was kept")
def test_configuration():
    need_root()
    with Echod() as echod:
        text = open(echod.config, encoding="utf-8").read()
        close_folder(echod)
        for _ in range(2):
            mark = rewrite(echod, text)
            echod.wait_log("new settings are in force", since=mark)
        mark = rewrite(echod, "nonsense\n")
        echod.wait_log(r"echod\.conf:1: ", since=mark)
        echod.wait_log("the old settings stay in force", since=mark)
        assert exchange(echod.connect(), b"x") == b"x"


@case("a file that was replaced in such a folder is an error, not the old file again")
def test_replaced():
    need_root()
    with Echod() as echod:
        close_folder(echod)
        mark = echod.reload()
        echod.wait_log(r"echod\.conf: Permission denied", since=mark)
        assert exchange(echod.connect(), b"x") == b"x"


@case("nor is one that was renamed, or that a link led to, taken for what stands there now")
def test_renamed():
    need_root()

    def fails(echod):
        os.chmod(echod.config, 0o600)
        mark = echod.log_mark()
        echod.signal(signal.SIGHUP)
        echod.wait_log(r"echod\.conf: Permission denied", since=mark)
        echod.wait_log("the old settings stay in force", since=mark)
        assert exchange(echod.connect(), b"x") == b"x"

    for mode in (0o755, 0o700):     # a folder that the service user may walk, and one not
        with Echod() as echod:
            os.rename(echod.config, echod.config + "~")
            echod.write_config(None, "nonsense\n")
            os.chmod(echod.folder, mode)
            fails(echod)
            os.rename(echod.config + "~", echod.config)
            os.chmod(echod.config, 0o600)
            mark = echod.log_mark()
            echod.signal(signal.SIGHUP)
            echod.wait_log("new settings are in force", since=mark)
    with Echod() as echod:
        os.rename(echod.config, echod.folder + "/first.conf")
        os.chmod(echod.folder + "/first.conf", 0o600)
        os.symlink("first.conf", echod.config)
        mark = echod.log_mark()
        echod.signal(signal.SIGHUP)
        echod.wait_log("new settings are in force", since=mark)
        with open(echod.folder + "/second.conf", "w", encoding="utf-8") as file:
            file.write("nonsense\n")
        os.unlink(echod.config)
        os.symlink("second.conf", echod.config)
        fails(echod)


@case("the listener program is executed through the descriptor that was kept")
def test_listener():
    need_root()
    with tempfile.TemporaryDirectory(prefix="echod-test-") as folder:
        path = os.path.join(folder, "echod-listener")
        shutil.copy(program("echod-listener"), path)
        with Echod(env={"ECHOD_LISTENER": path}) as echod:
            assert process_stat(echod.listener_pid)[0] == "echod-listener"
            old = echod.listener_pid
            os.kill(old, signal.SIGKILL)
            wait_until(lambda: [pid for pid in echod.listener_pids() if pid != old],
                       "a new listener")
            assert exchange(echod.connect(), b"x") == b"x"


main()
