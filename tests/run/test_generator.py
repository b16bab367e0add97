#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The systemd generator: the addresses of echod.conf become a drop-in of echod.socket."""
import os
import subprocess

from harness import DEADLINE_S, Skip, case, foreign, main, program, temporary_directory

DROP_IN = "normal/echod.socket.d/50-echod-conf.conf"


def generate(folder, text):
    """Runs the generator on a file with this text: (status, standard error, drop-in or None)."""
    path = os.path.join(folder, "echod.conf")
    if text is not None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    directories = [os.path.join(folder, name) for name in ("normal", "early", "late")]
    for directory in directories:
        os.makedirs(directory, exist_ok=True)
    result = subprocess.run([program("echod-generator"), *directories], capture_output=True,
                            text=True, timeout=DEADLINE_S, check=False,
                            env={"ECHOD_CONF": path, "PATH": os.environ["PATH"]})
    try:
        with open(os.path.join(folder, DROP_IN), encoding="utf-8") as file:
            drop_in = file.read()
    except FileNotFoundError:
        drop_in = None
    return result.returncode, result.stderr, drop_in


def datagram_unit(folder):
    """The lines of echod-udp.socket, or None."""
    try:
        with open(os.path.join(folder, "normal/echod-udp.socket"), encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return None


def streams(drop_in):
    return [line.partition("=")[2] for line in drop_in.splitlines()
            if line.startswith("ListenStream=")]


@case("each address becomes a ListenStream= in place of the unit's own")
def test_addresses():
    with temporary_directory() as folder:
        status, err, drop_in = generate(
            folder, 'listen = {"192.0.2.1:7", "[2001:db8::1]:7007", "unix:/run/echo.sock",'
            ' "[fe80::1%lo]:7"}\n')
        assert (status, err) == (0, "")
        assert streams(drop_in) == ["", "192.0.2.1:7", "[2001:db8::1]:7007", "/run/echo.sock",
                                    "[fe80::1]:7%%lo"]
        assert "BindIPv6Only=ipv6-only\n" in drop_in and "FreeBind=yes\n" in drop_in
        assert "SourcePath=" not in drop_in, "systemd would warn after any change of the file"


@case("addresses for UDP become a unit of their own, which follows echod.socket")
def test_datagrams():
    with temporary_directory() as folder:
        _, err, drop_in = generate(
            folder, 'listen = {"192.0.2.1:7", "udp:192.0.2.1:7", "udp:*:8", "udp:[fe80::1%lo]:9"}\n'
            'access { allow = {"192.0.2.0/24", "2001:db8::/32"} }\n')
        assert err == "" and streams(drop_in) == ["", "192.0.2.1:7"]
        unit = datagram_unit(folder)
        assert "PartOf=echod.socket" in unit and "Service=echod.service" in unit
        lines = [line for line in unit if line.startswith(("ListenDatagram=", "IPAddress"))]
        assert lines == ["IPAddressDeny=any", "IPAddressAllow=192.0.2.0/24",
                         "IPAddressAllow=2001:db8::/32", "ListenDatagram=192.0.2.1:7",
                         "ListenDatagram=[::]:8", "ListenDatagram=0.0.0.0:8",
                         "ListenDatagram=[fe80::1]:9%%lo"], lines
        assert not os.path.lexists(os.path.join(folder, "early/echod.socket"))
    with temporary_directory() as folder:
        generate(folder, 'listen = {"127.0.0.1:7", "udp:127.0.0.1:7"}\n')
        assert "IPAddressAllow=localhost" in datagram_unit(folder)
    with temporary_directory() as folder:
        generate(folder, 'listen = {"127.0.0.1:7"}\n')
        assert datagram_unit(folder) is None


@case("with UDP alone its unit is echod.socket too, which everything names")
def test_datagrams_alone():
    with temporary_directory() as folder:
        status, err, drop_in = generate(folder, 'listen = {"udp:127.0.0.1:7"}\n')
        assert (status, err, drop_in) == (0, "", None)
        unit = os.path.join(folder, "normal/echod-udp.socket")
        assert os.path.realpath(os.path.join(folder, "early/echod.socket")) == unit


@case("systemd takes every address that is written")
def test_systemd():
    with temporary_directory() as folder:
        _, _, drop_in = generate(
            folder, 'listen = {"192.0.2.1:7", "[2001:db8::1]:7", "[fe80::1%lo]:7", "*:8",'
            ' "localhost:9", "unix:/run/a%b", "udp:*:8", "udp:[::1]:7"}\n'
            'access { allow = {"192.0.2.0/24", "::/0"} }\n')
        unit = os.path.join(folder, "probe.socket")
        with open(unit, "w", encoding="utf-8") as file:
            file.write(drop_in)
        datagrams = os.path.join(folder, "normal/echod-udp.socket")
        for service in ("probe", "normal/echod"):
            with open(os.path.join(folder, service + ".service"), "w", encoding="utf-8") as file:
                file.write("[Service]\nExecStart=/bin/true\n")
        for path in (unit, datagrams):
            result = subprocess.run([foreign("systemd-analyze"), "verify", "--man=no", path],
                                    capture_output=True, text=True, timeout=DEADLINE_S, check=False)
            assert path not in result.stdout + result.stderr, result


@case("localhost and * stand for both families")
def test_both_families():
    with temporary_directory() as folder:
        _, err, drop_in = generate(folder, 'listen = {"localhost:7", "*:8"}\n')
        have_ipv6 = os.path.exists("/proc/net/if_inet6")
        expected = ["", "127.0.0.1:7", "[::1]:7", "[::]:8", "0.0.0.0:8"]
        assert err == ""
        assert streams(drop_in) == [i for i in expected if have_ipv6 or "[" not in i]


@case("an address that several elements stand for is one ListenStream=: systemd binds each")
def test_shared_address():
    with temporary_directory() as folder:
        _, err, drop_in = generate(folder, 'listen = {"127.0.0.1:7", "LocalHost:7", "*:70",'
                                   ' "0.0.0.0:70", "unix:/run/%", "[0:0::1]:7"}\n')
        have_ipv6 = os.path.exists("/proc/net/if_inet6")
        both = ["[::1]:7", "[::]:70", "0.0.0.0:70", "/run/%%"]
        rest = both if have_ipv6 else ["0.0.0.0:70", "/run/%%", "[::1]:7"]
        assert (err, streams(drop_in)) == ("", ["", "127.0.0.1:7", *rest])


@case("without the key, and without the file, the unit's own addresses stand")
def test_no_key():
    with temporary_directory() as folder:
        assert generate(folder, None) == (0, "", None)
        assert generate(folder, "limits { connections = 7 }\n") == (0, "", None)


@case("a bad file writes nothing and says why")
def test_bad_file():
    with temporary_directory() as folder:
        status, err, drop_in = generate(folder, 'listen = {"192.0.2.1:7", "x:99999"}\n')
        assert status == 1 and drop_in is None
        assert err.startswith(f"echod-generator: {folder}/echod.conf:1: listen: "), err


@case("what has no place in a unit is named and left out")
def test_left_out():
    with temporary_directory() as folder:
        text = 'listen = {"192.0.2.1:0", "192.0.2.1:7"}\n'
        status, err, drop_in = generate(folder, text)
        assert status == 0 and streams(drop_in) == ["", "192.0.2.1:7"]
        assert err == (f"echod-generator: {folder}/echod.conf: listen: 192.0.2.1:0: "
                       "port 0 has no place in a socket unit\n")


@case("what counts already is not advised again by -t, what does not count yet is")
def test_advice():
    if os.geteuid() != 0:
        raise Skip("needs root")
    advice = "systemctl daemon-reload && systemctl restart echod.socket"
    steps = ("mount -t tmpfs none /run && mkdir -p /run/systemd/generator &&"
             ' test() { "$echod" -t -c "$ECHOD_CONF" 2>&1; } &&'
             ' generate() { "$generator" /run/systemd/generator /run /run; } &&'
             ' put() { echo "$1" >"$ECHOD_CONF"; } &&'
             " put 'listen = {\"*:7\"}' && test && generate && test &&"
             " put 'listen = {\"*:8\"}' && test && put '' && test &&"
             " rm -r /run/systemd/generator/* && test")
    with temporary_directory() as folder:
        result = subprocess.run(
            [foreign("unshare"), "-m", "sh", "-ec", steps], capture_output=True, text=True,
            timeout=DEADLINE_S, check=False,
            env={"ECHOD_CONF": folder + "/echod.conf", "PATH": os.environ["PATH"],
                 "echod": program("echod"), "generator": program("echod-generator")})
    assert result.returncode == 0, result
    told = [advice in part for part in result.stdout.split(": OK\n")]
    # standard error comes first: it is not buffered
    assert told == [True, False, True, True, False, False], result


@case("called by hand, or where nothing can be written, it says so")
def test_wrong_call():
    result = subprocess.run([program("echod-generator")], capture_output=True, text=True,
                            timeout=DEADLINE_S, check=False)
    assert result.returncode == 1 and "three directories" in result.stderr, result
    with temporary_directory() as folder:
        path = os.path.join(folder, "echod.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write('listen = {"192.0.2.1:7"}\n')
        for directory, wanted in ((path, "Not a directory"),
                                  ("/nowhere", "No such file or directory")):
            result = subprocess.run([program("echod-generator"), directory, folder, folder],
                                    capture_output=True, text=True, timeout=DEADLINE_S,
                                    check=False, env={"ECHOD_CONF": path})
            assert result.returncode == 1, result
            assert result.stderr == f"echod-generator: {directory}: {wanted}\n", result


@case("a file whose every address is unusable leaves the unit alone")
def test_nothing_usable():
    with temporary_directory() as folder:
        status, err, drop_in = generate(folder, 'listen = {"127.0.0.1:0"}\n')
        assert status == 1 and drop_in is None and "127.0.0.1:0" in err


main()
