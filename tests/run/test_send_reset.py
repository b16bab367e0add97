#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""echoctl send: a connection that is reset, whichever of the two processes finds out."""
import os
import signal
import subprocess
import threading

from harness import DEADLINE_S, case, child_pids, main, program, read_exactly, wait_until
from harness_peers import Peer, reset


def start(*arguments, **streams):
    """echoctl send, running."""
    streams.setdefault("stdin", subprocess.PIPE)
    return subprocess.Popen([program("echoctl"), "send", *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **streams)


@case("a reset is named, whichever process sees it")
def test_reset():
    def after_some(connection):
        read_exactly(connection, 100000)
        reset(connection)

    def at_once(connection):
        read_exactly(connection, 1)
        reset(connection)

    with Peer(after_some) as peer, open("/dev/zero", "rb") as zeros:
        client = start(peer.address, stdin=zeros)
        assert client.wait(DEADLINE_S) == 1
        assert b"connection lost after" in client.stderr.read()
    with Peer(at_once) as peer:
        client = start(peer.address)
        client.stdin.write(b"x")
        client.stdin.flush()
        assert client.wait(DEADLINE_S) == 1
        complaint = client.stderr.read()
        assert b"connection lost after 0 of 1 bytes: Connection reset by peer" in complaint
        client.stdin.close()


@case("a reset that the sender meets at its FIN has its name all the same")
def test_reset_at_fin():
    held, over = threading.Event(), threading.Event()

    def reset_when_held(connection):
        held.wait(DEADLINE_S)
        reset(connection)
        over.set()

    with Peer(reset_when_held) as peer:
        client = start(peer.address)
        (sender,) = wait_until(lambda: child_pids(client.pid), "the sender is there")
        os.kill(sender, signal.SIGSTOP)
        client.stdin.close()
        held.set()
        assert over.wait(DEADLINE_S)
        # All that is left to it now is to end a connection that is gone.
        os.kill(sender, signal.SIGCONT)
        assert client.wait(DEADLINE_S) == 1
        complaint = client.stderr.read()
        assert b"connection lost after 0 of 0 bytes: Connection reset by peer" in complaint, \
            complaint


main()
