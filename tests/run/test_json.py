#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Every line that echoctl --json writes is what doc/echoctl.schema.json says."""
import json
import os
import re

from harness import SRCDIR, Skip, case, main, run_echoctl
from harness_datagram import DatagramPeer
from harness_datagram import echo as datagram_echo
from harness_peers import Peer, by_message, echo, events, flip, forget, swallow

try:
    import jsonschema
except ImportError:
    jsonschema = None

with open(os.path.join(SRCDIR, "doc/echoctl.schema.json"), encoding="utf-8") as file:
    SCHEMA = json.load(file)


def flip_last(connection):
    """An echo that changes one byte of each piece."""
    while data := connection.recv(65536):
        connection.sendall(flip(data, len(data) - 1))


# A handler of the peer (None: nobody listens), the command line, the events that come.
RUNS = (
    (echo, ["send"], {"send"}),
    (flip_last, ["send", "--repeat", "2"], {"send"}),
    (swallow, ["send", "--drain-timeout", "100ms"], {"send"}),
    (None, ["send"], {"error"}),
    (echo, ["halfclose", "--hold", "50ms"], {"halfclose"}),
    (flip_last, ["halfclose"], {"halfclose"}),
    (lambda _: None, ["halfclose"], {"halfclose"}),
    (None, ["halfclose"], {"error"}),
    (echo, ["trace"], {"trace", "trace_summary"}),
    (swallow, ["trace", "--drain-timeout", "100ms"], {"trace", "trace_summary"}),
    (flip_last, ["trace"], {"trace", "trace_summary"}),
    (echo, ["trace", "--mptcp"], {"trace", "trace_summary"}),
    (None, ["trace"], {"trace", "error"}),
    (echo, ["sweep", "-s", "0,1,64K"], {"sweep", "sweep_summary"}),
    (flip_last, ["sweep", "-s", "1,64K", "-p", "zeros"], {"sweep", "sweep_summary"}),
    (None, ["sweep"], {"error"}),
    (echo, ["ping", "-D", "-c", "2", "-i", "5ms"], {"ping_probe", "ping_summary"}),
    (echo, ["ping", "--reconnect", "-c", "2", "-i", "5ms"], {"ping_probe", "ping_summary"}),
    (by_message(64, lambda _, data: flip(data, 3)), ["ping", "-c", "1"],
     {"ping_probe", "ping_summary"}),
    (swallow, ["ping", "-c", "1", "-W", "10ms"], {"ping_probe", "ping_summary"}),
    (by_message(64, lambda *_: None), ["ping", "-c", "1"],
     {"ping_probe", "ping_summary", "error"}),
    (None, ["ping", "-c", "1"], {"error"}),
    (echo, ["check"], {"check"}),
    (None, ["check"], {"check"}),
    (echo, ["load", "-d", "3s", "--progress", "--rate", "100"],
     {"load_progress", "load_summary"}),
    (echo, ["load", "-n", "10", "--reconnect", "--require", "p99<20s,loss<1%,rate>1,errors<1"],
     {"load_summary", "requirement"}),
    (lambda _: None, ["load", "-n", "2", "-c", "1"], {"load_summary"}),
    (swallow, ["load", "-d", "1500ms", "--timeout", "1500ms", "--progress"],
     {"load_progress", "load_summary"}),
    (echo, ["idle", "--min", "10ms", "--max", "40ms"], {"idle_probe", "idle_verdict"}),
    (forget(0.2, "fin"), ["idle", "--min", "10ms", "--max", "5s"],
     {"idle_probe", "idle_verdict"}),
    (swallow, ["idle", "--max", "1s", "--timeout", "50ms"], {"error"}),
)


# The same with datagrams: what the peer answers.
UDP_RUNS = (
    (datagram_echo, ["ping", "-D", "-c", "2", "-i", "5ms"]),
    (lambda _, data: [data, data[:9], flip(data, 30), data + data], ["ping", "-c", "2"]),
    (lambda *_: [], ["ping", "-c", "2", "-i", "5ms", "-W", "10ms"]),
    (None, ["ping", "-c", "1"]),
    (datagram_echo, ["ping", "-c", "1", "-s", "65527"]),
    (datagram_echo, ["load", "-n", "5", "--window", "2"]),
    (None, ["load", "-n", "5", "--rate", "100", "--progress"]),
    (datagram_echo, ["sweep", "-s", "0,100", "-p", "zeros"]),
    (lambda _, data: [data[1:]], ["sweep", "-s", "99", "-p", "zeros"]),
    (datagram_echo, ["trace"]),
    (None, ["trace"]),
    (datagram_echo, ["check"]),
    (None, ["check"]),
)


def run(handle, arguments):
    """The events of one command against such a peer."""
    with Peer(handle or echo) as peer:
        address = peer.address if handle else "127.0.0.1:1"
        return events(run_echoctl("--json", *arguments, address, stdin=b"hello\n"))


@case("the schema is one")
def test_schema():
    if not jsonschema:
        raise Skip("python3-jsonschema is not installed")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def keys(schema):
    """Every key of every object that a schema describes."""
    if isinstance(schema, list):
        schema = dict(enumerate(schema))
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", ())).union(*map(keys, schema.values()))


@case("what measures says in its key by which unit")
def test_units():
    with open(os.path.join(SRCDIR, "doc/control.schema.json"), encoding="utf-8") as file:
        found = keys(SCHEMA) | keys(json.load(file))
    measures = re.compile(r"(^|_)(rate|offset|size|time|uptime|age|duration|step|silence|mss|"
                          r"pmtu|jitter|cpu)(_|$)")
    units = re.compile(r"_(ns|us|s|bytes)$")
    # why a datagram was dropped, not a measure
    measured = {key for key in found - {"rate"} if measures.search(key)}
    assert len(measured) > 10 and "difference_offset_bytes" in measured, measured
    assert not {key for key in measured if not units.search(key)}, measured


@case("every event is in the schema, and every event of the schema is seen")
def test_lines():
    if not jsonschema:
        raise Skip("python3-jsonschema is not installed")
    seen = set()
    for handle, arguments, wanted in RUNS:
        lines = run(handle, arguments)
        for line in lines:
            definition = {"$ref": "#/$defs/" + line["event"], "$defs": SCHEMA["$defs"]}
            jsonschema.Draft202012Validator(definition).validate(line)
            jsonschema.Draft202012Validator(SCHEMA).validate(line)
        assert {line["event"] for line in lines} == wanted, (arguments, lines)
        seen |= wanted
    described = {entry["$ref"].rpartition("/")[2] for entry in SCHEMA["oneOf"]}
    assert seen == described, seen ^ described


@case("with datagrams too")
def test_datagrams():
    if not jsonschema:
        raise Skip("python3-jsonschema is not installed")
    for answer, arguments in UDP_RUNS:
        with DatagramPeer(answer or datagram_echo) as peer:
            address = peer.address if answer else "127.0.0.1:1"
            lines = events(run_echoctl("--json", "-u", *arguments, address))
        assert lines, arguments
        for line in lines:
            jsonschema.Draft202012Validator(SCHEMA).validate(line)


@case("a local daemon that is not reached is an event as well")
def test_no_daemon():
    if not jsonschema:
        raise Skip("python3-jsonschema is not installed")
    for command in (["status"], ["status", "-w"], ["list"], ["kill", "1.1"], ["reload"],
                    ["drain"], ["log-level", "info"], ["metrics"]):
        result = run_echoctl("--json", "--control", "/nonexistent/control", *command)
        (line,) = events(result)
        jsonschema.Draft202012Validator(SCHEMA).validate(line)
        assert result.returncode == 2 and line["errno"] == "ENOENT", (command, line)


main()
