"""Pending pictures of the board's other galleries: hashed again for the model in use.

A board that changes its model has a gallery for each. What was enrolled into the other one, and no
version has named, is a proposal that must not be lost. If its picture was kept, this model hashes
it; if not, it stays in its gallery, and is reported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from edge_runtime.code import Embedding
from edge_runtime.errors import EdgeRuntimeError, storage_error
from edge_runtime.fitting.quantized import quantize
from edge_runtime.fleet.content import read_numbered
from edge_runtime.fleet.kinds import Add
from edge_runtime.fleet.rollout import home_of, siblings
from edge_runtime.gallery import Gallery, LabeledCode
from edge_runtime.gallery.pictures import view_digest
from edge_runtime.gallery.rows import Meta
from edge_runtime.gallery.shared import PENDING
from edge_runtime.system.durable import make_folder, write_file

Embed = Callable[[bytes, Sequence[int]], list[Embedding]]
"""Returns the embeddings of the views with these numbers, of a kept picture (JPEG)."""


@dataclass
class Carried:
    """The outcome."""

    pictures: int = 0
    """Enrolled now."""
    left: dict[str, int] = field(default_factory=dict)
    """Pending pictures that were not kept, by the name of their gallery."""


class _Waiting(NamedTuple):
    add: Add
    jpeg: bytes


def carry_over(gallery: Path, embed: Callable[[], Embed]) -> Carried:
    """Enroll the pending pictures of the other galleries into `gallery`, each of them once.

    `embed` is called only if there are any, since it loads the model. Safe to repeat. The other
    galleries stay as they are. Raises `EdgeRuntimeError`.
    """
    carried, notes = Carried(), _Notes(gallery)
    hashing: Embed | None = None
    for other in siblings(gallery):
        for waiting in _pending(other):
            key = f"{waiting.add.label}/{waiting.add.digest.hex()}"
            if notes.had(key, gallery):
                continue
            if not waiting.jpeg:
                carried.left[other.name] = carried.left.get(other.name, 0) + 1
                continue
            hashing = hashing or embed()
            views = range(len(waiting.add.codes))
            _enroll(gallery, waiting, hashing(waiting.jpeg, views))
            notes.add(key, gallery, other)
            carried.pictures += 1
    return carried


def _pending(path: Path) -> Iterator[_Waiting]:
    with suppress(EdgeRuntimeError), Gallery(path, read_only=True) as gallery:
        with gallery.reading() as connection:
            meta = Meta(gallery.model_id, gallery.bits)
            found = list(read_numbered(connection, path, meta, PENDING))
        for ids, add in found:
            yield _Waiting(add, gallery.kept_picture(ids[0]))


def _enroll(gallery: Path, waiting: _Waiting, embeddings: list[Embedding]) -> None:
    """Enroll a picture under the digest that it is proposed with: that of a frame is made up."""
    add = waiting.add
    codes = [
        LabeledCode(
            add.label,
            embedding.code,
            add.source,
            view_digest(add.digest, number),
            add.position,
            None if embedding.features is None else quantize(embedding.features),
            b"" if number else waiting.jpeg,
        )
        for number, embedding in enumerate(embeddings)
    ]
    with Gallery(gallery) as opened:
        opened.enroll(codes)


class _Notes:
    """Which galleries have had a picture: none gets it twice, so a rejected one does not return."""

    def __init__(self, gallery: Path) -> None:
        home = home_of(gallery)
        self._path = home.with_name(f"{home.name}.fleet") / "carried.json"
        self._had: dict[str, list[str]] = {}
        with suppress(OSError, ValueError, TypeError, AttributeError):
            found = json.loads(self._path.read_bytes())
            self._had = {str(key): [*map(str, names)] for key, names in found.items()}

    def had(self, key: str, gallery: Path) -> bool:
        """Return whether the gallery has had the picture."""
        return gallery.name in self._had.get(key, ())

    def add(self, key: str, *galleries: Path) -> None:
        """Make it durable; a kill before it repeats an enrollment, which changes nothing."""
        names = {*self._had.get(key, ()), *(gallery.name for gallery in galleries)}
        self._had[key] = sorted(names)
        try:
            make_folder(self._path.parent)
            write_file(self._path, json.dumps(self._had, sort_keys=True).encode())
        except OSError as error:
            raise storage_error(error, self._path) or error from error
