#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Options, exit status and what is printed where."""
import os
import re
import shutil
import socket
import subprocess

from harness import (DEADLINE_S, SRCDIR, Echod, Skip, case, child_pids, connect_to, exchange, main,
                     program, temporary_directory, wait_until)


def run_echod(*arguments):
    """echod to its end: (status, standard output, standard error)."""
    result = subprocess.run([program("echod"), *arguments], capture_output=True, text=True,
                            timeout=DEADLINE_S, stdin=subprocess.DEVNULL, check=False,
                            env=Echod.environment())
    return result.returncode, result.stdout, result.stderr


def config_file(folder, text):
    path = os.path.join(folder, "echod.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


@case("-V prints name and version")
def test_version():
    status, out, err = run_echod("-V")
    assert status == 0 and err == ""
    assert re.match(r"echod \d+\.\d+", out), out


@case("-h prints the usage on standard output")
def test_help():
    status, out, err = run_echod("-h")
    assert status == 0 and err == ""
    assert out.lower().startswith("usage: echod")
    for option in "clLtTiVh":
        assert re.search(rf"-{option}\b", out), f"-{option} is missing"


@case("standard output that takes nothing is an error, status 1")
def test_output_full():
    with temporary_directory() as folder, open("/dev/full", "wb") as full:
        path = config_file(folder, "")
        for option in "VhtT":
            result = subprocess.run([program("echod"), "-c", path, "-" + option], stdout=full,
                                    stderr=subprocess.PIPE, timeout=DEADLINE_S, check=False)
            assert result.returncode == 1, (option, result)
            assert b"standard output: No space left" in result.stderr, (option, result)


@case("a wrong option or operand is a usage error on standard error, status 2")
def test_usage():
    for arguments in (["-x"], ["-c"], ["operand"], ["-L", "loud"], ["-t", "-T", "extra"]):
        status, out, err = run_echod(*arguments)
        assert status == 2, (arguments, status, err)
        assert out == "" and "echod" in err, (arguments, out, err)


@case("-t says FILE: OK")
def test_config_ok():
    with temporary_directory() as folder:
        path = config_file(folder, "limits { connections = 7 }\n")
        status, out, err = run_echod("-c", path, "-t")
        assert (status, out + err) == (0, f"{path}: OK\n")


@case("-t names the commands that bring listen into force")
def test_config_listen():
    with temporary_directory() as folder:
        path = config_file(folder, 'listen = {"127.0.0.1:7007"}\n')
        status, out, err = run_echod("-c", path, "-t")
        assert (status, out) == (0, f"{path}: OK\n")
        assert err == ("under systemd a changed listen counts after "
                       '"systemctl daemon-reload && systemctl restart echod.socket"\n')
        path = config_file(folder, 'listen = {"127.0.0.1:7007", "127.0.0.1:0"}\n')
        status, out, err = run_echod("-c", path, "-t")
        assert (status, out) == (0, f"{path}: OK\n")
        assert err.endswith(f"\nunder systemd: {path}: listen: 127.0.0.1:0: port 0 has no "
                            "place in a socket unit\n"), err


@case("a user or group that does not exist is an error of the file: -t and the start say where")
def test_names():
    with temporary_directory() as folder:
        group = '{path}:3: control.group: "no-such-group": no such group'
        cases = [("no-such-user", '{path}:1: user: "no-such-user": no such user'),
                 ("root", '{path}:1: user: "root" is root: nothing would be given up')]
        for user, wanted in cases:
            path = config_file(folder, f"user = {user}\ncontrol {{\n\tgroup = no-such-group\n"
                                       f"\tpath = '{folder}/control'\n}}\n")
            both = "".join(line.format(path=path) + "\n" for line in (wanted, group))
            assert run_echod("-c", path, "-t") == (78, "", both)
            status, out, err = run_echod("-c", path, "-l", "127.0.0.1:0")
            if os.geteuid() != 0:   # who stays that
                both = group.format(path=path) + "\n"
            assert (status, out) == (78, "") and err.replace("echod: ", "") == both, err
        # where nobody becomes another user and nothing is controlled neither is asked for
        config_file(folder, "control {\n\tgroup = no-such-group\n}\n")
        assert run_echod("-c", path, "-t", "-i")[0] == 0


def as_nobody(folder, *arguments):
    """echod of a user who is in no group but his own: (status, standard error)."""
    copy = shutil.copy(program("echod"), folder)    # others may not be let into the build's folder
    result = subprocess.run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", copy,
                             *arguments], capture_output=True, text=True, timeout=DEADLINE_S,
                            check=False, env=Echod.environment())
    return result.returncode, result.stderr


@case("a group that the socket cannot be given to is found by -t, as by the start")
def test_giving():
    if os.geteuid() != 0:
        raise Skip("only root can become somebody else")
    with temporary_directory() as folder:
        path = config_file(folder, "control {\n\tgroup = daemon\n"
                                   f"\tpath = '{folder}/control'\n}}\n"
                                   "listen = {'127.0.0.1:0'}\n")
        os.chmod(folder, 0o777)
        assert run_echod("-c", path, "-t")[0] == 0, "root gives files to anybody"
        wanted = (f'{path}:2: control.group: "daemon": the socket cannot be given to this group '
                  "(Operation not permitted), see echod.conf(5)\n")
        assert as_nobody(folder, "-c", path, "-t") == (78, wanted)
        assert as_nobody(folder, "-c", path) == (78, "echod: " + wanted)


@case("what a start could not bind is found by -t, with the same status")
def test_bind():
    with temporary_directory() as folder:
        os.mkdir(f"{folder}/folder")
        for listen, why in (
                ("[fe80::1%no-such]:0", "No such device"),
                ("192.0.2.77:0", "Cannot assign requested address"),
                ("udp:192.0.2.77:0", "Cannot assign requested address"),
                (f"unix:{folder}/none/x", "No such file or directory"),
                (f"unix:{folder}/echod.conf/x", "Not a directory"),
                (f"unix:{folder}/folder", "Address already in use")):
            path = config_file(folder, f"listen = {{'127.0.0.1:0', '{listen}'}}\n"
                                       "access {\n\tallow = '127.0.0.0/8'\n}\n"
                                       "control {\n\tpath = ''\n}\n")
            assert run_echod("-c", path, "-t") == (1, "", f"{path}: listen: {listen}: {why}\n")
            status, _, err = run_echod("-c", path)
            assert status == 1 and err.startswith(f"echod: {listen}: ") and why in err, err
            assert run_echod("-c", path, "-t", "-i")[0] == 0, "it has its connection"
        path = config_file(folder, f"control {{\n\tpath = '{folder}/none/none/x'\n}}\n")
        assert run_echod("-c", path, "-t") == (
            1, "", f"{path}: control.path: {folder}/none/none/x: No such file or directory\n")
        with Echod(listen=("127.0.0.1:0", f"unix:{folder}/x"), settings={"user": "nobody"}) \
                as echod:
            listen = [argument for address in echod.addresses for argument in ("-l", address)]
            assert run_echod("-c", echod.config, "-t", *listen)[0] == 0, "it runs beside a daemon"


@case("one path for two things, and an address of many hosts, are errors of the file")
def test_clash():
    with temporary_directory() as folder:
        file = f"{folder}/./x"
        for text, why in (
                (f"listen = 'unix:{folder}//x'\ncontrol {{\n\tpath = '{file}'\n}}\n",
                 "control.path is an address of listen"),
                (f"listen = 'unix:{folder}//x'\nmetrics {{\n\tfile = '{file}'\n}}\n",
                 "metrics.file is an address of listen"),
                (f"control {{\n\tpath = '{folder}/x'\n}}\nmetrics {{\n\tfile = '{file}'\n}}\n",
                 "metrics.file is control.path"),
                (f"listen = {{'unix:{folder}//x', 'unix:{file}'}}\n", "is listed twice"),
                ("listen = '224.0.0.1:7'\n", "broadcast or multicast address"),
                ("listen = '255.255.255.255:7'\n", "broadcast or multicast address"),
                ("listen = 'udp:[ff02::1]:7'\n", "broadcast or multicast address")):
            path = config_file(folder, text)
            status, out, err = run_echod("-c", path, "-t")
            assert (status, out) == (78, "") and err.startswith(path) and why in err, err
        path = config_file(folder, f"control {{\n\tpath = '{file}'\n}}\n")
        status, _, err = run_echod("-c", path, "-t", "-l", f"unix:{folder}/x")
        assert status == 78 and "-l: control.path is an address of listen\n" == err, err


@case("addresses of which one is among the others are found by -t, as by the start")
def test_overlap():
    with temporary_directory() as folder:
        path = config_file(folder, "listen = {'*:7',\n'localhost:7'}\n")
        wanted = f'{path}:2: listen: "localhost:7" overlaps with "*:7"\n'
        assert run_echod("-c", path, "-t") == (78, "", wanted)
        assert run_echod("-c", path) == (78, "", "echod: " + wanted)


@case("-t names file, line and key of every error, status 78")
def test_config_bad():
    with temporary_directory() as folder:
        path = config_file(folder, "limits {\n\tconnections = 0\n}\n\ntimeouts {\n"
                                   "\tidle = 'soon'\n}\n")
        status, out, err = run_echod("-c", path, "-t")
        assert status == 78, status
        lines = (out + err).splitlines()
        assert lines == [
            f'{path}:2: limits.connections: "0" is not in 1-100000',
            f'{path}:6: timeouts.idle: "soon" is not a duration like 90s, 10min or 1h 30min',
        ], lines
        assert "OK" not in out


@case("a start with a bad or missing file ends with status 78 before anything listens")
def test_start_bad():
    with temporary_directory() as folder:
        path = config_file(folder, "limits { connections = 'many' }\n")
        for name in (path, os.path.join(folder, "missing.conf")):
            status, _, err = run_echod("-c", name, "-l", "127.0.0.1:0")
            assert status == 78, (name, status, err)
            assert name in err, err
            assert "listening on" not in err


@case("-T prints settings that read back give the same output")
def test_effective():
    with temporary_directory() as folder:
        path = config_file(folder, "limits { connections = 7 }\ntimeouts { idle = '1h 30min' }\n")
        status, first, err = run_echod("-c", path, "-T")
        assert status == 0 and err == "", err
        assert re.search(r"connections\s*=\s*7\b", first), first
        again = config_file(folder, first)
        status, second, _ = run_echod("-c", again, "-T")
        assert status == 0 and second == first


@case("the shipped configuration is good and holds the defaults")
def test_shipped():
    shipped = next(path for path in (os.path.join(folder, "etc/echod.conf") for folder in
                                     (os.environ.get("ABS_BUILDDIR", SRCDIR), SRCDIR))
                   if os.path.exists(path))
    status, effective, err = run_echod("-c", shipped, "-T")
    assert status == 0, err
    with temporary_directory() as folder:
        _, defaults, _ = run_echod("-c", config_file(folder, ""), "-T")
        assert effective == defaults


@case("an address that is taken is named, status 1")
def test_address_taken():
    with socket.create_server(("127.0.0.1", 0)) as server, temporary_directory() as folder:
        address = "127.0.0.1:%d" % server.getsockname()[1]
        path = config_file(folder, "log { target = 'stderr' }\n")
        status, _, err = run_echod("-c", path, "-l", address)
        assert status == 1, (status, err)
        assert address in err and "in use" in err, err


@case("a bad -l is named and a usage error, and nothing starts")
def test_bad_listen():
    with temporary_directory() as folder:
        path = config_file(folder, "")
        for bad in ("127.0.0.1:99999", "[::1", "127.0.0.1:x"):
            status, _, err = run_echod("-c", path, "-l", bad)
            assert status == 2, (bad, status, err)
            assert f'-l: "{bad}"' in err and "--help" in err, (bad, err)
        status, out, err = run_echod("-c", path, "-t", "-l", "[::1]:7", "-l", "[::1]:7")
        assert (status, out) == (2, "") and "is listed twice" in err, (status, err)


@case("several -l replace the configured addresses")
def test_several():
    with Echod({"listen": ["127.0.0.1:1"]}, listen=("127.0.0.1:0", "127.0.0.1:0")) as echod:
        assert len(set(echod.addresses)) == 2
        for address in echod.addresses:
            assert exchange(connect_to(address), b"x") == b"x"


@case("the configured addresses count without -l")
def test_configured():
    with Echod({"listen": ["127.0.0.1:0"]}, listen=()) as echod:
        assert exchange(echod.connect(), b"x") == b"x"


@case("-L sets the level of the log")
def test_level():
    with Echod(options=("-L", "debug")) as echod:
        assert exchange(echod.connect(), b"") == b""
        echod.wait_log(r"bytes-in=0")
    with Echod(options=("-L", "warning"), wait=False) as echod:
        wait_until(lambda: child_pids(echod.pid), "the listener runs")
    assert not any("listening on" in line for line in echod.log())


main()
