#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The completions of bash, zsh and fish offer what --help shows: each shell is asked itself."""
import os
import pty
import re
import subprocess
import termios

from harness import (BUILDDIR, DEADLINE_S, SRCDIR, Echod, case, foreign, main, program,
                     read_exactly, temporary_directory)

SHELLS = ("bash", "zsh", "fish")
COMPLETIONS = os.path.join(SRCDIR, "completions")
LEVELS = {"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}


def usage(*command):
    return subprocess.run([program(command[0]), *command[1:], "--help"], capture_output=True,
                          text=True, timeout=DEADLINE_S, check=True).stdout


def commands():
    listed = usage("echoctl").partition("\nCommands")[2].partition("\nGlobal options")[0]
    return set(re.findall(r"^  ([a-z][a-z-]*)  ", listed, re.MULTILINE))


def options(*command):
    """Every option in a usage text, short and long."""
    lines = re.findall(r"^ {1,6}(-.*?)(?:  |$)", usage(*command), re.MULTILINE)
    return {word for line in lines for word in re.findall(r"--?[A-Za-z0-9][a-z0-9-]*", line)}


class Terminal:
    """An interactive shell at a wide terminal, where Tab shows everything there is to choose."""
    SETUP = {
        "bash": "bind 'set show-all-if-ambiguous on'; bind 'set completion-query-items 0';"
                "bind 'set page-completions off'; bind 'set enable-bracketed-paste off';"
                ". {0}/bash/echoctl; . {0}/bash/echod",
        "zsh": "unsetopt zle_bracketed_paste; LISTMAX=9999; fpath=({0}/zsh $fpath);"
               "autoload -Uz compinit; compinit -D -u; setopt no_beep no_always_last_prompt",
    }
    ARGV = {"bash": ("bash", "--norc", "--noprofile", "-i"), "zsh": ("zsh", "-f", "-i")}

    def __init__(self, shell, folder):
        self._fd, slave = pty.openpty()
        termios.tcsetwinsize(slave, (900, 300))
        self._process = subprocess.Popen(
            self.ARGV[shell], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
            env={"PATH": BUILDDIR + ":" + os.environ["PATH"], "TERM": "dumb", "PS1": "ready> ",
                 "HOME": folder, "LC_ALL": "C.UTF-8", "HISTFILE": ""})
        os.close(slave)
        self._number = 0
        self.ask(self.SETUP[shell].format(COMPLETIONS) + "\n")

    def ask(self, line):
        """What the shell shows after these keys; then the line is dropped."""
        self._number += 1
        # the next keys only at the prompt: before it the line editor does not have the terminal
        finished = re.compile(f"end-{self._number}-mark.*ready> ", re.DOTALL)
        os.write(self._fd, f"{line}\x15echo end-{self._number}-'mark'\n".encode())
        output = ""
        while not finished.search(output):
            output += os.read(self._fd, 65536).decode(errors="replace").replace("\r", "")
        return output.replace("'mark'", "")

    def close(self):
        os.close(self._fd)
        self._process.kill()
        self._process.wait()


class Fish:
    """fish tells the candidates for a line without a terminal."""
    def __init__(self, folder):
        self._env = {"PATH": BUILDDIR + ":" + os.environ["PATH"], "HOME": folder,
                     "LC_ALL": "C.UTF-8"}

    def ask(self, line):
        script = "".join(f"source {COMPLETIONS}/fish/{name}.fish;" for name in ("echoctl", "echod"))
        return subprocess.run(
            ["fish", "--no-config", "-c", script + 'complete -C "$argv[1]"', line.rstrip("\t")],
            capture_output=True, text=True, timeout=DEADLINE_S, check=True, env=self._env,
            stdin=subprocess.DEVNULL).stdout

    def close(self):
        pass


def offered(shell, line):
    """The words that the shell shows for a line."""
    text = shell.ask(line + "\t")
    return set(re.findall(r"(?:^|(?<=[\s=]))[-\w./]+", text))


def each_shell(function):
    """Runs function(SHELL) with each of the shells."""
    for name in SHELLS:
        foreign(name)
        with temporary_directory() as folder:
            shell = Fish(folder) if name == "fish" else Terminal(name, folder)
            try:
                function(name, shell)
            finally:
                shell.close()


@case("every command of echoctl is offered")
def test_commands():
    def look(name, shell):
        missing = commands() - offered(shell, "echoctl ")
        assert not missing, (name, missing)
        assert "send" not in offered(shell, "echoctl sweep "), name
    assert len(commands()) >= 8
    each_shell(look)


@case("every command that help can be asked about is offered")
def test_help():
    def look(name, shell):
        missing = commands() - offered(shell, "echoctl help ")
        assert not missing, (name, missing)
    each_shell(look)


@case("every option of every command is offered, and none of another's")
def test_options():
    def look(name, shell):
        for command in ["", *sorted(commands())]:
            expected = options("echoctl", *command.split())
            found = {word for dash in ("-", "--")
                     for word in offered(shell, f"echoctl {command}{' ' * bool(command)}{dash}")}
            assert not expected - found, (name, command, expected - found)
            foreign_options = {"--reconnect", "--halfclose", "--patterns"} - expected
            assert not foreign_options & found, (name, command, foreign_options & found)
    each_shell(look)


@case("an option before the command does not hide it")
def test_global_first():
    def look(name, shell):
        assert "--patterns" in offered(shell, "echoctl --json --connect-timeout 5s sweep --"), name
    each_shell(look)


@case("where a file is wanted files are offered")
def test_files():
    def look(name, shell):
        with temporary_directory() as folder:
            for ending in "ab":
                with open(os.path.join(folder, "file-" + ending), "wb"):
                    pass
            for line in ("echoctl send -o ", "echoctl --control ", "echoctl plot ",
                         "echoctl ping --series ", "echod -c ", "echod --config "):
                text = shell.ask(f"{line}{folder}/file-\t")
                assert "file-a" in text and "file-b" in text, (name, line, text)
    each_shell(look)


@case("the levels of the log are offered")
def test_levels():
    def look(name, shell):
        for line in ("echod -L ", "echod --log-level "):
            assert LEVELS <= offered(shell, line), (name, line)
        if "log-level" in commands():
            assert LEVELS <= offered(shell, "echoctl log-level "), name
    each_shell(look)


@case("columns and patterns are offered where they are wanted")
def test_values():
    def look(name, shell):
        for line in ("echoctl list -s ", "echoctl list --sort "):
            assert {"id", "idle", "worker"} <= offered(shell, line), (name, line)
        assert {"auto", "never"} <= offered(shell, "echoctl ping --color "), name
        for line in ("echoctl sweep -p ", "echoctl sweep --patterns "):
            assert {"crlf", "telnet"} <= offered(shell, line), (name, line)
        for line in ("echoctl sweep -s ", "echoctl ping --require ", "echoctl load --require "):
            assert "crlf" not in offered(shell, line), (name, line)
    each_shell(look)


@case("kill is offered the live connections; what asks the local daemon takes no host")
def test_ids():
    with Echod() as echod, temporary_directory() as folder:
        path = os.path.join(folder, "echoctl")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nexec {program('echoctl')} "
                       f'--control {echod.folder}/control "$@"\n')
        os.chmod(path, 0o755)
        held = [echod.connect() for _ in range(2)]
        for connection in held:
            connection.sendall(b"held")
            read_exactly(connection, 4)

        def look(name, shell):
            assert {"1.1", "1.2"} <= offered(shell, f"{path} kill 1."), name
            for command in ("kill", "plot", "status", "list", "reload", "drain", "log-level",
                            "metrics"):
                assert "localhost" not in shell.ask(f"{path} {command} \t"), (name, command)
        each_shell(look)


@case("every option of echod is offered")
def test_echod():
    def look(name, shell):
        found = offered(shell, "echod -") | offered(shell, "echod --")
        missing = options("echod") - found
        assert not missing, (name, missing)
    each_shell(look)


main()
