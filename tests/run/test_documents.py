#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the manual and the shipped file say of keys and options is what the program knows."""
import os
import re
import subprocess

from harness import BUILDDIR, DEADLINE_S, SRCDIR, case, main, program, temporary_directory


def output_of(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True,
                          **options).stdout


def read(*names):
    with open(os.path.join(*names), encoding="utf-8") as file:
        return file.read()


def keys_of_settings(text):
    """(section, key, value) of each line of a settings file; a commented-out key counts."""
    section = ""
    keys = []
    for line in text.splitlines():
        opened = re.fullmatch(r"([a-z]+) \{", line)
        assigned = re.fullmatch(r"\t?(?:# )?([a-z0-9-]+) = (.+)", line)
        if opened:
            section = opened[1]
        elif line == "}":
            section = ""
        elif assigned:
            keys.append((section, assigned[1], assigned[2]))
    return keys


def keys_of_manual(text):
    """The same from the lists of echod.conf(5): .It Cm KEY = VALUE under .Ss Section NAME."""
    section = None
    keys = []
    for line in text.splitlines():
        if line.startswith(".S"):
            section = {"Top level": ""}.get(line[4:].strip('"'))
            if line.startswith(".Ss Section "):
                section = line[len(".Ss Section "):]
        item = re.fullmatch(r"\.It Cm (\S+) = ?(.*)", line)
        if item and section is not None:
            value = item[2]
            if value.startswith("Brq"):
                value = "{" + re.sub(r"^Brq ?(?:Qq (\S+))?$",
                                     lambda part: f'"{part[1]}"' if part[1] else "", value) + "}"
            elif value.startswith("Qq"):
                value = f'"{value[3:]}"'
            keys.append((section, item[1], value))
    return keys


def effective_defaults():
    return keys_of_settings(output_of(program("echod"), "-T", "-c", "/dev/null"))


@case("every key stands in echod.conf(5) with its default, and no other does")
def test_manual_keys():
    manual = keys_of_manual(read(SRCDIR, "man/echod.conf.5.in"))
    assert len(manual) > 20, manual
    assert sorted(manual) == sorted(effective_defaults())


@case("the shipped file shows every key at its default, in the order of echod -T")
def test_shipped_keys():
    assert keys_of_settings(read(SRCDIR, "etc/echod.conf")) == effective_defaults()


@case("every option of echod --help stands in echod(8), and no other does")
def test_manual_options():
    usage = output_of(program("echod"), "--help")
    options = set(re.findall(r"^ (-\w), (--[a-z-]+)", usage, re.MULTILINE))
    assert len(options) == 8, usage
    items = re.findall(r"^\.It Fl (\w) ?.* Fl -([a-z-]+)", read(SRCDIR, "man/echod.8.in"),
                       re.MULTILINE)
    assert {(f"-{short}", f"--{long}") for short, long in items} == options, items


def options_of_usage(*command):
    usage = output_of(program("echoctl"), *command, "--help")
    assert "\n\n\n" not in usage and " \n" not in usage, usage
    heads = re.findall(r"^ {2,6}(-.*?)(?:  |$)", usage, re.MULTILINE)
    return {word for head in heads for word in re.findall(r"(?:(?<= )|^)--?[\w-]+", head)}


def options_of_manual():
    """{"": global options, command: its options} of echoctl(1)."""
    found, command = {}, None
    for line in read(SRCDIR, "man/echoctl.1").splitlines():
        if line.startswith((".Sh ", ".Ss ")):
            words = line.split()
            command = "" if line == ".Ss Global options" else words[1] \
                if line.startswith(".Ss ") else None
            found.setdefault(command, set())
        if command is not None and re.match(r"\.(Ss|It) |\.Fl \w , Fl -", line):
            found[command] |= {"-" + name for name in re.findall(r"\bFl (-?\w[\w-]*)", line)}
    return found


@case("every command and option of echoctl --help stands in echoctl(1), and no other does")
def test_manual_client():
    manual = options_of_manual()
    overview = options_of_usage()
    assert manual[""] == overview, manual[""] ^ overview
    commands = re.findall(r"^  ([a-z][a-z-]*)  ", output_of(program("echoctl"), "--help"),
                          re.MULTILINE)
    assert len(commands) >= 8
    for command in commands:
        assert command in manual, f"echoctl(1) has no section on {command}"
        options = options_of_usage(command)
        if "--tos" in options:
            assert manual["Options"] <= options, (command, options)
            options -= manual["Options"]
        assert manual[command] - overview == options - overview, (command, manual[command], options)


@case("the examples of echod.conf(5) are good")
def test_manual_examples():
    examples = re.search(r"^\.Sh EXAMPLES\n(.*?)^\.Sh ", read(SRCDIR, "man/echod.conf.5.in"),
                         re.MULTILINE | re.DOTALL)[1]
    blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", examples, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    with temporary_directory() as folder:
        path = os.path.join(folder, "echod.conf")
        with open(os.path.join(folder, "echod.local.conf"), "w", encoding="utf-8"):
            pass
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(blocks[:4])
        assert output_of(program("echod"), "-t", "-c", path).startswith(f"{path}: OK\n")
        for command in blocks[4].splitlines():
            arguments = command.removeprefix("$ echod ").split()
            assert output_of(program("echod"), *arguments, "-c", path)


@case("settings may come through a pipe")
def test_pipe():
    out = output_of(program("echod"), "-T", "-c", "/dev/stdin", input="user = nobody")
    assert 'user = "nobody"\n' in out


@case("installing keeps a file that was changed, uninstalling too")
def test_install():
    if not os.path.exists(os.path.join(BUILDDIR, "Makefile")):
        return
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "TESTS")}
    with temporary_directory() as folder:
        def make(target):
            output_of("make", "-s", "-C", BUILDDIR, target, f"DESTDIR={folder}",
                      "sysconfdir=/etc", env=environment)
        path = os.path.join(folder, "etc/echod.conf")
        make("install-configuration")
        assert read(path) == read(SRCDIR, "etc/echod.conf")
        make("uninstall-configuration")
        assert not os.path.exists(path)
        with open(path, "w", encoding="utf-8") as file:
            file.write("user = 'mine'\n")
        make("install-configuration")
        make("uninstall-configuration")
        assert read(path) == "user = 'mine'\n"


main()
