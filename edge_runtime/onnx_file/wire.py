"""Read the fields of a protobuf message from a file, in constant memory and bounded time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

VARINT, FIXED64, MESSAGE, FIXED32 = 0, 1, 2, 5
"""Kinds of fields. MESSAGE is also the kind of texts and bytes."""
MOST_FIELDS = 1_000_000
"""Fields per file. A network of some thousand nodes has less than a tenth."""
MOST_TEXT = 1 << 20
"""Bytes of one text."""
_WINDOW = 1 << 14


class MalformedError(ValueError):
    """The bytes are not a message."""


class TruncatedError(MalformedError):
    """The message is longer than the file."""


class Field(NamedTuple):
    """One field of a message. Offsets count from the start of the file."""

    number: int
    kind: int
    tag: int
    """Offset of the field."""
    start: int
    """Offset of its content."""
    stop: int
    """Offset after its content."""
    value: int
    """The number of a VARINT, else 0."""


class Source:
    """The bytes of an open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor = file.fileno()
        self.size = os.fstat(self._descriptor).st_size
        self._window, self._window_start = b"", 0
        self._fields = 0

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`; raises `TruncatedError`."""
        data = os.pread(self._descriptor, stop - start, start)
        if len(data) != stop - start:
            raise TruncatedError("the file became shorter")
        return data

    def text(self, field: Field) -> str:
        """Return the content of `field` as text; raises `MalformedError`."""
        if field.kind != MESSAGE or field.stop - field.start > MOST_TEXT:
            raise MalformedError("not a text")
        try:
            return self.read(field.start, field.stop).decode()
        except UnicodeDecodeError as error:
            raise MalformedError("a text is not UTF-8") from error

    def fields(self, start: int, stop: int) -> Iterator[Field]:
        """Yield the fields between two offsets; raises `MalformedError`."""
        while start < stop:
            tag, begin = self._varint(start, stop)
            number, kind, value = tag >> 3, tag & 7, 0
            if kind == VARINT:
                value, end = self._varint(begin, stop)
            elif kind == MESSAGE:
                length, begin = self._varint(begin, stop)
                end = begin + length
            elif kind in (FIXED64, FIXED32):
                end = begin + (8 if kind == FIXED64 else 4)
            else:
                raise MalformedError(f"a field of kind {kind}")
            self._fields += 1
            if not 0 < number < 1 << 29 or self._fields > MOST_FIELDS:
                raise MalformedError("a field without a number, or too many fields")
            if end > stop:
                if stop == self.size:
                    raise TruncatedError(f"at least {end - stop:,} bytes are missing")
                raise MalformedError("a field is longer than its message")
            yield Field(number, kind, start, begin, end, value)
            start = end

    def _varint(self, at: int, stop: int) -> tuple[int, int]:
        """Return the number at the offset `at`, and the offset after it."""
        if not self._window_start <= at <= self._window_start + len(self._window) - 10:
            self._window_start = at
            self._window = os.pread(self._descriptor, _WINDOW, at)
        window, index = self._window, at - self._window_start
        if at < stop and index < len(window) and window[index] < 0x80:
            return window[index], at + 1
        value = shift = 0
        for byte in window[index : min(index + 10, stop - self._window_start)]:
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value, at + shift // 7
        if stop - at < 10:
            raise TruncatedError("it ends in the middle of a number")
        raise MalformedError("a number has more than 64 bits")
