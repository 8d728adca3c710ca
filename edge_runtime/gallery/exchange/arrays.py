"""Read an export as numpy's npz, a block of rows at a time. The file is untrusted."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.code import check_codes, words_of
from edge_runtime.errors import InputError
from edge_runtime.gallery.exchange.common import (
    MOST_ROWS,
    Code,
    NamedData,
    check_model,
    not_a_gallery,
    printable,
)
from edge_runtime.gallery.exchange.lines import MOST_LINE_BYTES, checked_digest
from edge_runtime.gallery.records import LabelData, LabeledCode, check_label
from edge_runtime.gallery.rows import Meta
from edge_runtime.position import position_from_row
from edge_runtime.system.npz import BrokenNpzError, Npz, open_npz


class ArraysFile:
    """An npz of a gallery."""

    def __init__(self, path: Path, meta: Meta) -> None:
        """Check the model and all arrays; raises `InputError` or OSError."""
        self._path, self._meta = path, meta
        with self._reading() as file:
            model_id = str(file.array("model_id", "U", 64 * 4, ()).only())
            bits = int(file.array("bits", "iu", 8, ()).only())
        check_model(path, Meta(model_id, bits), meta)

    def codes(self) -> Iterator[Code]:
        """Yield the codes; raises `InputError` for an array that is not valid."""
        words = words_of(self._meta.bits)
        with self._reading() as file:
            labels = file.array("labels", "U", 4 * 1024, (None,), MOST_ROWS)
            rows = (labels.count,)
            columns = [
                labels,
                file.array("codes", "u", 8, (*rows, words)),
                file.array("sources", "U", MOST_LINE_BYTES, rows),
                file.array("digests", "U", 4 * 1024, rows),
            ]
            if "positions" in file:
                columns.append(file.array("positions", "f", 8, (*rows, 3)))
            for number, row in enumerate(zip(*columns, strict=True), 1):
                yield number, self._code(*row)

    def label_data(self) -> Iterator[NamedData]:
        """Yield the data of labels; raises `InputError` for an array that is not valid."""
        with self._reading() as file:
            if "noted" not in file:
                return
            noted = file.array("noted", "U", 4 * 1024, (None,), MOST_ROWS)
            payloads = file.array("payloads", "U", 4 * MOST_LINE_BYTES, (noted.count,))
            jpegs = file.array("thumbnails", "U", 4 * MOST_LINE_BYTES, (noted.count,))
            for label, payload, jpeg in zip(noted, payloads, jpegs, strict=True):
                try:
                    data = LabelData(payload, base64.b64decode(jpeg, validate=True))
                    named = NamedData(check_label(label), data.checked(label))
                except InputError as error:
                    raise not_a_gallery(self._path, error) from error
                yield named

    def _code(
        self, label: str, code: Any, source: str, digest: str, position: list[float] | None = None
    ) -> LabeledCode | str:
        try:
            return LabeledCode(
                check_label(label),
                check_codes(np.array([code], np.uint64), self._meta.bits)[0],
                source,
                checked_digest(digest) if digest else None,
                None if position is None else position_from_row(position),
            )
        except (InputError, ValueError) as error:
            return printable(str(error))

    @contextmanager
    def _reading(self) -> Iterator[Npz]:
        try:
            with open_npz(self._path) as file:
                yield file
        except BrokenNpzError as error:
            raise not_a_gallery(self._path, error) from error
