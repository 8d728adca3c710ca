"""Read an export as JSON lines, one bounded line at a time."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from edge_runtime.code import check_codes, words_of
from edge_runtime.errors import InputError
from edge_runtime.gallery.exchange.common import (
    FORMAT,
    Code,
    NamedData,
    check_model,
    not_a_gallery,
    printable,
)
from edge_runtime.gallery.records import LabelData, LabeledCode, check_label
from edge_runtime.gallery.rows import MOST_BITS, Meta
from edge_runtime.position import Position
from edge_runtime.system.files import open_regular

MOST_LINE_BYTES = 1 << 20
"""The longest line of an export: a payload, escaped, and a thumbnail."""
MOST_DIGEST_BYTES = 64
_MALFORMED = (ValueError, TypeError, AttributeError, OverflowError, RecursionError)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value


_decoder = json.JSONDecoder(parse_float=_number, parse_constant=_number)


class LinesFile:
    """A file of JSON lines."""

    def __init__(self, path: Path, meta: Meta) -> None:
        """Check that the first line names the model `meta`; raises `InputError` or OSError."""
        self._path, self._meta = path, meta
        with open_regular(path) as file:
            _check_head(path, next(_lines(file), b""), meta)
        self._has_data = False

    def codes(self) -> Iterator[Code]:
        """Yield the codes, and what is wrong with bad lines of any kind."""
        for number, line in self._numbered():
            parsed = _parse(line, self._meta.bits)
            if isinstance(parsed, NamedData):
                self._has_data = True
            else:
                yield number, parsed

    def label_data(self) -> Iterator[NamedData]:
        """Yield the data of labels; call it after `codes`, which names the bad lines."""
        for _, line in self._numbered() if self._has_data else ():
            if b'"note"' in line or b"\\u" in line:
                parsed = _parse(line, self._meta.bits)
                if isinstance(parsed, NamedData):
                    yield parsed

    def _numbered(self) -> Iterator[tuple[int, bytes]]:
        with open_regular(self._path) as file:
            for number, line in enumerate(_lines(file), 1):
                if number > 1 and line.strip():
                    yield number, line


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield lines of at most MOST_LINE_BYTES; of a longer one, the first byte more than that."""
    while line := file.readline(MOST_LINE_BYTES + 1):
        yield line
        while len(line) > MOST_LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(MOST_LINE_BYTES + 1)
            if len(line) <= MOST_LINE_BYTES:
                break


def _check_head(path: Path, line: bytes, meta: Meta) -> None:
    try:
        head = _object(line)
        version, model_id, bits = (head[k] for k in ("edge_runtime_gallery", "model_id", "bits"))
    except (*_MALFORMED, KeyError) as error:
        raise not_a_gallery(path, "the first line does not name the model") from error
    named = isinstance(model_id, str) and isinstance(bits, int) and 0 < bits <= MOST_BITS
    if not (isinstance(version, int) and named):
        raise not_a_gallery(path, "the first line does not name the model")
    if version not in range(1, FORMAT + 1):
        what = f"format {printable(ascii(version))} is not supported"
        raise not_a_gallery(path, f"{what} (this version reads 1 to {FORMAT})")
    check_model(path, Meta(model_id, bits), meta)


def _object(line: bytes) -> dict[str, Any]:
    if len(line) > MOST_LINE_BYTES:
        raise ValueError(f"longer than {MOST_LINE_BYTES} bytes")
    parsed = _decoder.decode(line.decode("utf-8"))
    if not isinstance(parsed, dict):
        raise ValueError("not a JSON object")
    return parsed


def _parse(line: bytes, bits: int) -> LabeledCode | NamedData | str:
    try:
        data = _object(line)
        return _label_data(data) if "note" in data else _code(data, bits)
    except KeyError as error:
        return f"{error} is missing"
    except InputError as error:
        return printable(str(error))
    except _MALFORMED as error:
        return f"malformed: {printable(str(error))}"


def _label_data(data: dict[str, Any]) -> NamedData:
    label = check_label(_text(data, "note"))
    jpeg = base64.b64decode(_text(data, "thumbnail", ""), validate=True)
    return NamedData(label, LabelData(_text(data, "payload", ""), jpeg).checked(label))


def _code(data: dict[str, Any], bits: int) -> LabeledCode:
    octets = (bits + 7) // 8
    code = bytes.fromhex(_text(data, "code"))
    if len(code) != octets:
        raise InputError(f"expected a code of {octets} bytes, got {len(code)}")
    words = np.frombuffer(code.ljust(8 * words_of(bits), b"\0"), "<u8").astype(np.uint64)
    digest, position = data.get("digest"), data.get("position")
    return LabeledCode(
        check_label(_text(data, "label")),
        check_codes(words, bits)[0],
        _text(data, "source", ""),
        None if digest is None else checked_digest(_text(data, "digest")),
        None if position is None else Position(*position),
    )


def checked_digest(text: str) -> bytes:
    """Return the bytes of a hexadecimal digest; raises ValueError."""
    digest = bytes.fromhex(text)
    if len(digest) > MOST_DIGEST_BYTES:
        raise ValueError(f"a digest must not exceed {MOST_DIGEST_BYTES} bytes, got {len(digest)}")
    return digest


def _text(data: dict[str, Any], key: str, missing: str | None = None) -> str:
    value = data[key] if missing is None else data.get(key, missing)
    if not isinstance(value, str):
        raise TypeError(f"'{key}' must be text")
    return value
