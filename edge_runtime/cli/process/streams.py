"""Standard streams that cannot surprise a command: closed, full, or without a reader."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from edge_runtime.cli.process.restart import has_printed

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDOUT = "standard output"
"""File name in an `OSError` of standard output."""


class _Output(io.FileIO):
    """Standard output, whose errors say so."""

    def write(self, data: ReadableBuffer, /) -> int:
        has_printed()
        try:
            return super().write(data)
        except OSError as error:
            error.filename = STDOUT
            raise


class _Messages(io.FileIO):
    """Standard error. A message that cannot be written is lost, and the command goes on."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def guard_streams() -> None:
    """Make closed streams harmless, and give errors of standard output a name.

    A closed descriptor is opened on /dev/null: otherwise the next file that is opened, such as the
    gallery, would receive what is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = _text(_Output(1, "w", closefd=False), sys.stdout, "strict")
    sys.stderr = _text(_Messages(2, "w", closefd=False), sys.stderr, "backslashreplace")
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115


def _text(raw: io.FileIO, before: object, errors: str) -> io.TextIOWrapper:
    """Return a stream on `raw` with the encoding of the stream `before`, if there was one."""
    encoding = "utf-8"
    if isinstance(before, io.TextIOWrapper):
        encoding, errors = before.encoding, before.errors or errors
    is_message = isinstance(raw, _Messages)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding,
        errors,
        line_buffering=is_message or raw.isatty(),
        write_through=is_message,
    )
