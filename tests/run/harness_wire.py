# SPDX-License-Identifier: MIT
"""The formats of src/wire, as the program tests/run/layouts tells them."""
import json
import subprocess
import sys
import types

from harness_tap import program

_TOLD = json.loads(subprocess.run([program("tests/run/layouts")], capture_output=True,
                                  check=True).stdout)
WIRE = types.SimpleNamespace(**_TOLD["numbers"])    # enumerators and macros, as in C
ENDS = _TOLD["ends"]            # words, by enum end_reason
REFUSALS = _TOLD["refusals"]    # words, by enum refuse_reason


class Struct:
    """A struct by its name in C; fields that are no single number are bytes."""

    def __init__(self, name):
        fields = {field: (at, size) for struct, field, at, size in _TOLD["fields"]
                  if struct == name}
        self.size = fields.pop("", (0, 0))[1]
        self._fields = fields

    def at(self, field):
        """The offset of a field."""
        return self._fields[field][0]

    def get(self, buffer, field, start=0):
        """A field of the struct that begins at start."""
        at, size = self._fields[field]
        data = bytes(buffer[start + at:start + at + size])
        return int.from_bytes(data, sys.byteorder) if size in (1, 2, 4, 8) else data

    def put(self, buffer, field, value, start=0):
        """Sets a field; bytes may be shorter than it is."""
        at, size = self._fields[field]
        data = value.to_bytes(size, sys.byteorder) if isinstance(value, int) else value
        buffer[start + at:start + at + len(data)] = data

    def unpack(self, buffer, start=0):
        """All fields by name."""
        return {field: self.get(buffer, field, start) for field in self._fields}

    def pack(self, **values):
        """The struct as bytes; what is not named is 0."""
        buffer = bytearray(self.size)
        for field, value in values.items():
            self.put(buffer, field, value)
        return bytes(buffer)


def numbers(data, size=8):
    """An array of unsigned numbers."""
    return [int.from_bytes(data[i:i + size], sys.byteorder) for i in range(0, len(data), size)]
