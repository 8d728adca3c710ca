"""A gallery file as the codes of a server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_runtime.code import Embedding
from edge_runtime.fitting.calibration import FALSE_NAME_RATE
from edge_runtime.gallery import Gallery, query
from edge_runtime.gallery.features.memory import GalleryMemory
from edge_runtime.gallery.features.search import rank
from edge_runtime.gallery.snapshot.packed import Snapshot
from edge_runtime.lookup.planner import INDEX_FROM
from edge_runtime.recognition.similarity import similarity_verdict
from edge_runtime.server.codes import Answer, Content, Query, Scope

log = logging.getLogger(__name__)


class GalleryCodes:
    """Searches a gallery. Changes that other processes commit are in the next answer."""

    def __init__(self, path: Path) -> None:
        """Open the gallery at `path` and read its codes; raises `GalleryError` or `StorageError`.

        A large gallery whose codes have no file of their own gets one, so that the next start is
        fast. Its index is built in the background, and used if it is faster than a scan.
        """
        self.where = str(path)
        self._gallery = Gallery(path, read_only=True)
        try:
            lookup = self._gallery.snapshot().lookup
            self._gallery.save_snapshot()
        except BaseException:
            self._gallery.close()
            raise
        if len(lookup) >= INDEX_FROM:
            build = threading.Thread(
                target=lookup.planner.build, args=(lookup.rows,), name="multi-index", daemon=True
            )
            build.start()

    def content(self) -> Content:
        """See `Codes`."""
        return self._gallery.ask(lambda snapshot, _memory: self._content(snapshot))

    def near(self, queries: Sequence[Query]) -> tuple[Content, list[Answer]]:
        """See `Codes`."""
        return self._gallery.ask(
            lambda snapshot, memory: (self._content(snapshot), _answers(snapshot, memory, queries))
        )

    def close(self) -> None:
        """See `Codes`."""
        self._gallery.close()

    def _content(self, snapshot: Snapshot) -> Content:
        number, stamp = snapshot.generation
        gallery = self._gallery
        return Content(
            f"{number}-{stamp.hex()}",
            gallery.model_id,
            gallery.bits,
            snapshot.count,
            len(snapshot.labels),
        )


def _answers(snapshot: Snapshot, memory: GalleryMemory, queries: Sequence[Query]) -> list[Answer]:
    """Return an answer for each query. Codes with the same scope are searched in one pass."""
    answers: dict[int, Answer] = {}
    together: dict[Scope, list[int]] = {}
    for number, each in enumerate(queries):
        ranked = _ranked(memory, each)
        if ranked is not None:
            answers[number] = ranked
        elif each.scope.near is not None and snapshot.positions is not None:
            scope = each.scope
            found = query.nearest(
                snapshot, each.code, scope.k, near=scope.near, radius=scope.radius
            )
            answers[number] = Answer(found)
        else:
            together.setdefault(each.scope, []).append(number)
    for scope, numbers in together.items():
        codes = [queries[number].code for number in numbers]
        every = query.nearest_to_each(snapshot, np.stack(codes), scope.k, scope.radius)
        answers.update(zip(numbers, map(Answer, every), strict=True))
    return [answers[number] for number in range(len(queries))]


def _ranked(memory: GalleryMemory, each: Query) -> Answer | None:
    """Return the answer by features; None if the query or the gallery has none."""
    index = memory.index
    if each.features is None or index is None:
        return None
    calibration = memory.calibration
    if calibration is None or len(each.features) != index.values.shape[1]:
        return None
    scope = each.scope
    found = rank(
        index, calibration, [Embedding(each.code, each.features)], scope.k, near=scope.near
    )
    verdict = similarity_verdict(found.labels, calibration, FALSE_NAME_RATE)
    return Answer(found.matches, found.labels[: scope.k], verdict)
