# SPDX-License-Identifier: MIT
"""What the black-box tests share: TAP output, echod as a process, clients, /proc.

A test script is a list of cases and a call of main():

    #!/usr/bin/python3
    # SPDX-License-Identifier: MIT
    '''One sentence that says what this script tests.'''
    from harness import Echod, case, exchange, main

    @case("a line comes back")
    def test_line():
        with Echod() as echod:
            assert exchange(echod.connect(), b"hello\\n") == b"hello\\n"

    main()

Wait for events with wait_until(), Echod.wait_log() or a socket's timeout, never by sleeping a
fixed time. What a case starts it ends; on failure the logs of its daemons are printed.
"""
# pylint: disable=unused-import
from harness_clients import (connect_to, exchange, free_port, read_exactly, read_to_end,
                             run_echoctl, send_and_close, sending, unused_address, wait_accepts)
from harness_echod import Echod, Process, render_settings
from harness_proc import (child_pids, descendant_pids, descriptors, is_zombie, limit_descriptors,
                          process_stat, status_fields)
from harness_tap import (BUILDDIR, DEADLINE_S, MUST_RUN, RANDOM, SEED, SRCDIR, Skip, case, foreign,
                         is_defined, main, note, processes_of_case, program, random_bytes,
                         temporary_directory, wait_until)

__all__ = [name for name in dir() if not name.startswith("_")]
