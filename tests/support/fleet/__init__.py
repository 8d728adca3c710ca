"""Pictures and versions for tests of a fleet."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.fleet.content import content_digest
from edge_runtime.fleet.operations import Add, Head, Label, Operation, write_version
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.pictures import view_digest
from edge_runtime.position import Position

MODEL = FakeEngine().model
BITS = MODEL.bits
VIEWS = 2
JPEG = b"\xff\xd8\xff thumbnail"


def digest_of(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def picture(
    label: str,
    number: int,
    *,
    features: bool = False,
    at: Position | None = None,
    views: int = VIEWS,
) -> Add:
    """The same picture for the same number."""
    parts = [hashlib.sha256(f"{number} {view}".encode()).digest() for view in range(views)]
    codes = tuple(part[: (BITS + 7) // 8] for part in parts)
    values = tuple(part[16:] for part in parts) if features else None
    return Add(label, digest_of(number), codes, values, at, f"photo-{number}.jpg")


def codes_of(add: Add) -> list[LabeledCode]:
    """The codes that a board would enroll of this picture."""
    return [
        LabeledCode(
            add.label,
            np.frombuffer(code, "<u8").astype(np.uint64),
            add.source,
            view_digest(add.digest, view),
            add.position,
            None if add.features is None else np.frombuffer(add.features[view], np.int8),
        )
        for view, code in enumerate(add.codes)
    ]


def enroll(gallery: Gallery, *adds: Add) -> None:
    gallery.enroll([code for add in adds for code in codes_of(add)])


def head(
    version: int, base: int | None, pictures: Iterable[Add] = (), labels: Iterable[Label] = ()
) -> Head:
    return Head(version, base, MODEL.id, BITS, content_digest(pictures, labels))


def packed(head: Head, operations: Iterable[Operation]) -> bytes:
    file = io.BytesIO()
    write_version(file, head, operations)
    return file.getvalue()


def open_gallery(path: Path) -> Gallery:
    return Gallery(path, MODEL, create=True)
