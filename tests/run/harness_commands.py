# SPDX-License-Identifier: MIT
"""The commands that the documents tell a reader to type."""
import os
import re

from harness_tap import SRCDIR

PROGRAMS = ("./bootstrap", "./configure", "./dev", "apt-get", "echo", "echoctl", "echod",
            "journalctl", "make", "podman", "printf", "systemctl")
# What looks like one in the examples: a line of inetd.conf.
NO_COMMANDS = ("echo stream tcp nowait",)
# Run by .ci/run, which builds and installs; run by tests/system, in a booted system.
SOURCE = r"\./|make\b|apt-get "
SYSTEM = r"systemctl |journalctl |echod -t$"


def _read(name):
    with open(os.path.join(SRCDIR, name), encoding="utf-8") as file:
        return file.read()


def is_command(line):
    """Whether a line of an example is typed at a shell (else it belongs into a file)."""
    return line.split(" ")[0] in PROGRAMS and not line.startswith(NO_COMMANDS)


def readme_lines():
    """Every indented line of README, continued ones joined, without its remark."""
    text = _read("README").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return [re.sub(r"  +", " ", re.sub(r"  +#.*", "", line)) for line in lines]


def manual_examples(name):
    """(command, what it prints there) of each display in the EXAMPLES of a manual page."""
    examples = re.search(r"^\.Sh EXAMPLES\n(.*?)(?=^\.Sh |\Z)", _read("man/" + name),
                         re.MULTILINE | re.DOTALL)[1]
    for display in re.finditer(r'^\.Dl "?(.*?)"?$|^\.Bd -literal.*?\n(.*?)^\.Ed', examples,
                               re.MULTILINE | re.DOTALL):
        lines = (display[1] or display[2]).splitlines()
        if not display[1] and lines[0].startswith("$ "):
            yield lines[0].removeprefix("$ "), lines[1:]
            continue
        for line in lines:
            yield line.removeprefix("$ "), []


def manual_lines(name):
    """Every line that is displayed there, but for what commands print."""
    return [line for line, _ in manual_examples(name)]


def all_commands():
    """Those of README and the programs' manual pages."""
    lines = readme_lines()
    for name in ("echoctl.1", "echod.8.in"):
        lines += manual_lines(name)
    return [line for line in lines if is_command(line)]
