#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The command line of echoctl: what is refused before anything is done, and in which words."""
import re

from harness import case, main, run_echoctl


def check(result, status, *phrases):
    """The exit status, and what standard error has to say."""
    text = result.stderr.decode()
    assert result.returncode == status, (result.args, result.returncode, text)
    for phrase in phrases:
        assert phrase in text, (result.args, phrase, text)


@case("usage errors: status 3 and a hint")
def test_usage():
    for arguments, phrase in (((), "an ADDRESS is missing"),
                              (("a", "b"), "b: one ADDRESS only"),
                              (("--bogus", "a"), "--bogus: no such option"),
                              (("--repeat", "0", "a"), "--repeat 0: out of range"),
                              (("--drain-timeout", "soon", "a"), "--drain-timeout soon: not a"),
                              (("--drain-timeout",), "--drain-timeout: needs a value"),
                              (("a:70000",), "a:70000: "),
                              (("*:7",), "*:7: ")):
        check(run_echoctl("send", *arguments), 3, phrase, "'echoctl send --help' tells more")
    result = run_echoctl("send", "--help")
    assert result.returncode == 0 and b"Examples:" in result.stdout and result.stderr == b""
    check(run_echoctl(), 3, "Usage: echoctl")
    check(run_echoctl("--connect-timeout", "soon", "a"), 3, "--connect-timeout soon: not a")


@case("what is wrong in front of a command is said before it is run")
def test_in_front():
    for wrong, why in ((("--connect-timeout", "0"), "--connect-timeout 0: too short"),
                       (("--connect-timeout=soon",), "--connect-timeout soon: not a duration"),
                       (("-q", "--control", ""), "--control : the path is empty"),
                       (("--conect-timeout", "3s"), "--conect-timeout: no such option"),
                       (("-o", "file"), "-o: no such option"),
                       (("--connect-timeout",), "--connect-timeout: needs a value")):
        for command in (("ping", "127.0.0.1:1"), ("check", "127.0.0.1:1"), ("127.0.0.1:1",)):
            if why.endswith("needs a value"):
                command = ()
            result = run_echoctl(*wrong, *command)
            check(result, 3, f"echoctl: {why}", "'echoctl --help' tells more")
            assert result.stderr.count(b"\n") == 2 and result.stdout == b"", result
    # options of send may follow the address, which its name may be left out in front of
    check(run_echoctl("127.0.0.1:1", "-S", "127.0.0.1", "-o", "/dev/null"), 2, "connect: ")


@case("help shows what --help shows, of echoctl and of each command")
def test_help():
    usage = run_echoctl("--help").stdout
    assert run_echoctl("help").stdout == usage
    names = re.findall(r"^  ([a-z-]+)  +", usage.decode().partition("\nGlobal")[0], re.MULTILINE)
    assert "help" in names and len(names) > 10, names
    for name in names:
        result = run_echoctl("help", name)
        assert (result.returncode, result.stderr) == (0, b""), result
        assert result.stdout == run_echoctl(name, "--help").stdout, name
        assert all(len(line) <= 80 for line in result.stdout.decode().splitlines()), result
    check(run_echoctl("help", "pnig"), 3, "pnig: no such command", "the command 'ping'?")
    check(run_echoctl("help", "elephant"), 3, "elephant: no such command",
          "'echoctl --help' shows the commands")
    check(run_echoctl("help", "ping", "load"), 3, "load: one COMMAND only")
    check(run_echoctl("hlep", "ping"), 3, "hlep: no such command", "the command 'help'?")


@case("a mistyped command is pointed out, a host that looks like one is not refused")
def test_mistyped():
    for arguments, name in ((("pnig", "localhost"), "ping"), (("loglevel", "info"), "log-level"),
                            (("half", "localhost"), "halfclose"), (("statsu", "-w"), "status")):
        result = run_echoctl(*arguments)
        check(result, 3, f"did you mean the command '{name}'?")
        assert result.stderr.count(b"did you mean") == 1, result
    check(run_echoctl("elephant", "localhost"), 3, "elephant: no such command",
          "'echoctl --help' shows the commands")
    check(run_echoctl("--connect-timeout", "3s", "statsu"), 2,
          "statsu: resolve: ", "did you mean the command 'status'?")
    result = run_echoctl("--connect-timeout", "3s", "elephant.invalid")
    check(result, 2, "elephant.invalid: resolve: ")
    assert b"did you mean" not in result.stderr, result
    # send was named: no command is missing
    result = run_echoctl("send", "--connect-timeout", "3s", "statsu")
    check(result, 2, "resolve: ")
    assert b"did you mean" not in result.stderr, result


@case("an ID that cannot be one is a usage error, with no daemon asked")
def test_control_operands():
    for word in ("foo", "1", "1.", ".1", "1.2x", "1.2.3", "-1.2", "+1.2", " 1.2", ""):
        check(run_echoctl("--control", "/nonexistent/control", "kill", "--", word), 3,
              f"kill: {word}: not an ID as list shows it (3.1047)")


@case("an empty path is refused, before the command and behind it")
def test_empty_path():
    for arguments in (("--control", "", "status"), ("status", "--control", ""), ("--control=",)):
        check(run_echoctl(*arguments), 3, "--control : the path is empty")


@case("a limit of no time at all is refused, where 0 has a meaning it is not")
def test_no_time():
    for command in ("send", "ping", "check", "halfclose", "trace", "sweep", "load", "idle",
                    "status", "list", "kill", "reload", "drain", "log-level", "metrics"):
        check(run_echoctl(command, "--connect-timeout", "0"), 3,
              "--connect-timeout 0: too short")
    check(run_echoctl("--connect-timeout", "0ms", "localhost"), 3, "--connect-timeout 0ms: too ")
    for command, option in (("send", "--drain-timeout"), ("halfclose", "--drain-timeout"),
                            ("trace", "--drain-timeout"), ("sweep", "--drain-timeout"),
                            ("ping", "--interval"), ("ping", "--deadline"), ("ping", "--late"),
                            ("load", "--duration"), ("load", "--timeout"), ("idle", "--min"),
                            ("idle", "--max"), ("idle", "--timeout"), ("reload", "--timeout"),
                            ("drain", "--timeout")):
        check(run_echoctl(command, option, "0", "localhost"), 3, f"{option} 0: too short")
    check(run_echoctl("halfclose", "--hold", "0"), 3, "an ADDRESS is missing")
    check(run_echoctl("--control", "/nonexistent/control", "list", "--idle-over", "0",
                      "--age-over", "0"), 2, "no echod answers there")


@case("what rounds to nothing is too short or too small, not too long or too large")
def test_nearly_nothing():
    for command, option, value, why in (("send", "--connect-timeout", "0.0000001", "too short"),
                                        ("send", "--drain-timeout", "0.1us", "too short"),
                                        ("halfclose", "--hold", "0.1us", "too short"),
                                        ("ping", "--size", "0.5", "too small"),
                                        ("load", "--size", "0.9B", "too small"),
                                        ("ping", "--size", "17179869184G", "too large"),
                                        ("ping", "--late", "36526d", "too long")):
        check(run_echoctl(command, option, value, "localhost"), 3, f"{option} {value}: {why}")


@case("one letter is one option: a source is -S wherever there is one, and never -s")
def test_source_letter():
    for command in ("send", "halfclose", "trace", "sweep", "list", "kill"):
        usage = run_echoctl(command, "--help").stdout.decode()
        assert "  -S, --source " in usage, usage
        check(run_echoctl(command, "-S"), 3, "-S: needs a value")
    check(run_echoctl("send", "-s", "127.0.0.1", "localhost"), 3, "-s: no such option")


@case("what cannot be a target or a source is refused before anything is tried")
def test_addresses():
    for target in ("127.0.0.1:0", "[::1]:0", "localhost:00"):
        for command in ("send", "ping", "halfclose", "trace", "sweep", "load", "idle"):
            check(run_echoctl(command, target), 3, f"{target}: nothing can be reached at port 0")
        result = run_echoctl("check", target)
        assert result.returncode == 3 and b"port 0" in result.stdout, result
    for source in ("localhost", "127.0.0.1:5", "", "1.2.3.4/8"):
        for command in ("send", "halfclose", "trace", "sweep"):
            check(run_echoctl(command, "-S", source, "127.0.0.1:1"), 3,
                  f"--source {source}: not a numeric address")
    for command in ("send", "halfclose", "trace", "sweep"):
        check(run_echoctl(command, "-S", "127.0.0.1", "unix:/nonexistent/socket"), 3,
              f"echoctl: {command}: --source 127.0.0.1: a Unix socket is reached from no")
    check(run_echoctl("send", "-S", "::1", "127.0.0.1:1"), 4, "socket: Address family not supp")


main()
