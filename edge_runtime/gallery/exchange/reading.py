"""Import a file of any format: into memory, or a part at a time into a gallery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from edge_runtime.errors import EdgeRuntimeError, InputError, storage_error
from edge_runtime.gallery.exchange.arrays import ArraysFile
from edge_runtime.gallery.exchange.common import Code, NamedData, not_a_gallery, suffix_of
from edge_runtime.gallery.exchange.index import IndexFile
from edge_runtime.gallery.exchange.lines import LinesFile
from edge_runtime.gallery.pictures import DIGEST_BYTES
from edge_runtime.gallery.records import EnrollCounts, LabelData, LabeledCode
from edge_runtime.gallery.rows import Meta
from edge_runtime.gallery.store import Gallery

PART = 10_000
"""Codes in memory at a time, and up to one picture more."""
MOST_BAD = 1000
"""Bad lines that are listed; further ones are only counted."""


class Source(Protocol):
    """A file to import. Each method may be called repeatedly, and reads the file again."""

    def codes(self) -> Iterator[Code]:
        """Yield the codes with their line numbers."""

    def label_data(self) -> Iterator[NamedData]:
        """Yield the data of labels, after `codes`."""


def import_codes(
    path: Path, meta: Meta, bad: list[str] | None = None
) -> tuple[list[LabeledCode], dict[str, LabelData]]:
    """Return the codes and the label data in `path`, for a gallery of the model `meta`.

    A bad line raises `InputError` with its number. If `bad` is a list, bad lines are skipped and
    their errors appended to it. Raises `GalleryModelMismatchError` for codes of another model.
    """
    try:
        source = _open(path, meta)
        return list(_good(path, source, bad)), dict(source.label_data())
    except (OSError, ValueError) as error:
        raise _as_error(error, path) from error


def import_into(gallery: Gallery, path: Path, bad: list[str] | None = None) -> EnrollCounts:
    """Enroll the content of `path`, all or nothing, and count pictures and codes.

    Only a part of the file is in memory at a time. The arguments and errors are those of
    `import_codes`.
    """
    try:
        source = _open(path, Meta(gallery.model_id, gallery.bits))
        return gallery.enroll_parts(_parts(_good(path, source, bad)), source.label_data)
    except (OSError, ValueError) as error:
        raise _as_error(error, path) from error


def _open(path: Path, meta: Meta) -> Source:
    opened: dict[str, type[LinesFile] | type[ArraysFile] | type[IndexFile]] = {
        ".jsonl": LinesFile,
        ".npz": ArraysFile,
        ".faiss": IndexFile,
    }
    return opened[suffix_of(path)](path, meta)


def _as_error(error: OSError | ValueError, path: Path) -> EdgeRuntimeError:
    if isinstance(error, OSError):
        return storage_error(error, path) or InputError(str(error), where=path)
    return not_a_gallery(path, error)


def _good(path: Path, source: Source, bad: list[str] | None) -> Iterator[LabeledCode]:
    more = 0
    for number, entry in source.codes():
        if isinstance(entry, LabeledCode):
            yield entry
        elif bad is None:
            raise InputError(
                f"line {number}: {entry}", where=path, remedy="correct it, or use --skip-bad"
            )
        elif len(bad) < MOST_BAD:
            bad.append(f"{path}: line {number}: {' '.join(entry.split())}")
        else:
            more += 1
    if more and bad is not None:
        bad.append(f"{path}: {more} more bad lines")


def _parts(codes: Iterator[LabeledCode]) -> Iterator[list[LabeledCode]]:
    """Yield lists of about PART codes; the codes of a picture that follow each other stay one."""
    part: list[LabeledCode] = []
    for code in codes:
        if len(part) >= PART and _picture(code) != _picture(part[-1]):
            yield part
            part = []
        part.append(code)
        if len(part) >= 2 * PART:  # no picture has that many
            yield part
            part = []
    if part:
        yield part


def _picture(code: LabeledCode) -> object:
    digest = code.digest and code.digest[:DIGEST_BYTES]
    return (code.label, digest or code.source) if digest or code.source else object()
