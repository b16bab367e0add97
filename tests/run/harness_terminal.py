# SPDX-License-Identifier: MIT
"""A terminal to run a program in and to look at: tmux without a user's settings."""
import os
import re
import shlex
import subprocess
import tempfile

from harness_tap import DEADLINE_S, foreign, wait_until

WIDTH = 100
HEIGHT = 40


class Terminal:
    """Runs the command; its exit status comes as a line "EXIT N" when it has ended."""

    def __init__(self, *command, width=WIDTH):
        self.tmux = foreign("tmux")
        self.width = width
        self.folder = tempfile.TemporaryDirectory(prefix="echod-test-")
        self.command = command

    def _tmux(self, *arguments):
        return subprocess.run([self.tmux, "-S", self.folder.name + "/tmux", "-f", "/dev/null",
                               *arguments], capture_output=True, text=True, timeout=DEADLINE_S,
                              check=True, env=dict(os.environ, LC_ALL="C.UTF-8", TERM="xterm"))

    def __enter__(self):
        # SIGINT is for the program: the shell around it stays to tell the status.
        script = f"trap : INT QUIT; {shlex.join(self.command)}; echo EXIT $?; read -r _"
        self._tmux("new-session", "-d", "-x", str(self.width), "-y", str(HEIGHT),
                   "sh", "-c", script)
        return self

    def __exit__(self, *_):
        self._tmux("kill-server")
        self.folder.cleanup()

    def lines(self, joined=False):
        """The screen as it stands, without the blanks at the ends; joined: what was wrapped."""
        text = self._tmux("capture-pane", "-p", *["-J"] * joined).stdout
        return [line.rstrip() for line in text.rstrip().splitlines()]

    def colors(self):
        """The screen with the escape codes of its colours."""
        return self._tmux("capture-pane", "-p", "-e").stdout

    def press(self, key):
        """As tmux names keys: "C-c", "Enter"."""
        self._tmux("send-keys", key)

    def type(self, line):
        """The characters, then Enter."""
        self._tmux("send-keys", "-l", line)
        self.press("Enter")

    def wait_count(self, line, count):
        """Until so many lines of the screen are this one."""
        wait_until(lambda: self.lines().count(line) == count, f"{line!r} {count} times")

    def wait(self, wanted):
        """The screen once a line of it holds this regular expression."""
        def shown():
            lines = self.lines()
            return any(re.search(wanted, line) for line in lines) and lines
        try:
            return wait_until(shown, f"{wanted!r} on the screen")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; but:\n" + "\n".join(self.lines())) from None
