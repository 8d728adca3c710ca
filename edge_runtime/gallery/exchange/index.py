"""Read a binary index of faiss and the labels in the file beside it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np

from edge_runtime.code import words_of
from edge_runtime.errors import InputError
from edge_runtime.gallery.exchange.common import Code, NamedData, labels_path, not_a_gallery
from edge_runtime.gallery.exchange.faiss_file import FaissReader
from edge_runtime.gallery.records import LabeledCode, check_label
from edge_runtime.gallery.rows import Meta
from edge_runtime.system.files import open_regular

MOST_LABEL_BYTES = 1 << 12


class IndexFile:
    """An index with its labels. It does not name the model."""

    def __init__(self, path: Path, meta: Meta) -> None:
        """Check both files; raises `InputError` or OSError."""
        self._path, self._meta = path, meta
        with open_regular(path) as file:
            index = self._open(file)
        if index.bits != meta.bits:
            raise InputError(
                f"its codes have {index.bits} bits, those of the gallery have {meta.bits}",
                where=path,
            )
        labels = labels_path(path)
        if not labels.exists():
            raise InputError(
                "the file of labels is missing",
                where=path,
                remedy=f"write {labels}, one line per code",
            )
        with open_regular(labels) as file:
            count = sum(1 for _ in _lines(labels, file))
        if count != index.count:
            raise InputError(f"{count} labels for {index.count} codes", where=labels)

    def codes(self) -> Iterator[Code]:
        """Yield the codes; the errors are those of labels."""
        labels = labels_path(self._path)
        width = 8 * words_of(self._meta.bits)
        with open_regular(self._path) as file, open_regular(labels) as names:
            octets = chain.from_iterable(self._open(file).blocks())
            for number, (line, row) in enumerate(
                zip(_lines(labels, names), octets, strict=True), 1
            ):
                try:
                    label = check_label(line.decode("utf-8"))
                except UnicodeDecodeError:
                    yield number, "the label is not UTF-8"
                    continue
                except InputError as error:
                    yield number, str(error)
                    continue
                code = np.frombuffer(row.tobytes().ljust(width, b"\0"), "<u8").astype(np.uint64)
                # The source is unique: the file does not tell which codes belong to one picture.
                yield number, LabeledCode(label, code, f"{self._path.name}#{number}")

    def label_data(self) -> Iterator[NamedData]:
        """Yield nothing: an index has no data of labels."""
        return iter(())

    def _open(self, file: IO[bytes]) -> FaissReader:
        try:
            return FaissReader(file)
        except ValueError as error:
            raise not_a_gallery(self._path, error) from error


def _lines(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(MOST_LABEL_BYTES + 1):
        if len(line) > MOST_LABEL_BYTES:
            raise InputError(f"a line is longer than {MOST_LABEL_BYTES} bytes", where=path)
        yield line.rstrip(b"\r\n")
