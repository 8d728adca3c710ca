"""Compute codes through the runtime's own code path, and retrieval figures from the codes."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.code import Code
from edge_runtime.engine.base import Engine
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.image.preprocess import preprocess
from training.data.photo_sets import Photo, label_indices
from training.data.pixel_cache import PhotoSource
from training.eval.metrics import (
    Distances,
    average_precision,
    distances,
    open_set_episodes,
    precision_at,
    precision_recall,
    rank,
    tie_aware_ap,
)

Image = NDArray[np.uint8]
SHUFFLE_SEED = 2017  # of the database: see metrics
TOP = 100  # the paper's MAP is over the top 100
OPEN_SETS = ("open_set", "open_set_unseen")  # in results: of all labels, of strangers
_WORKERS = 2


class Hasher:
    """Convert photos to codes with the runtime's engine and preprocessing, on several engines."""

    def __init__(self, model: Path):
        self._engines: queue.SimpleQueue[Engine] = queue.SimpleQueue()
        for _ in range(_WORKERS):
            engine = PortableEngine(model, threads=1)
            self.info = engine.model
            self._engines.put(engine)

    def hash_all(
        self, cache: PhotoSource, disturb: Callable[[Image, int], Image] | None = None
    ) -> Code:
        """Return codes uint64 [N, W] of all photos, after `disturb(image, index)` if given."""

        def one(index: int) -> Code:
            image = cache[index]
            engine = self._engines.get()
            try:
                if disturb is not None:
                    image = disturb(image, index)
                return engine.hash(preprocess(image, self.info.input.size))
            finally:
                self._engines.put(engine)

        with ThreadPoolExecutor(_WORKERS) as pool:
            return np.stack(list(pool.map(one, range(len(cache)))))


@dataclass(frozen=True)
class CodeSet:
    """One side of a retrieval: the photos and their codes uint64 [N, W]."""

    photos: list[Photo]
    codes: Code

    def where(self, chosen: Callable[[Photo], bool]) -> CodeSet:
        """Return the part of this side whose photos are `chosen`."""
        rows = [i for i, photo in enumerate(self.photos) if chosen(photo)]
        return CodeSet([self.photos[i] for i in rows], self.codes[rows])

    def shuffled(self) -> CodeSet:
        """Return the same photos shuffled, so that a label's photos are not adjacent."""
        rows = np.random.default_rng(SHUFFLE_SEED).permutation(len(self.photos))
        return CodeSet([self.photos[i] for i in rows], self.codes[rows])


@dataclass(frozen=True)
class Ranking:
    """Every query against the whole database, nearest first."""

    database: CodeSet
    queries: CodeSet
    distance: Distances  # [Q, D], database order
    order: NDArray[np.intp]  # [Q, D], database positions, nearest first
    same: NDArray[np.bool_]  # [Q, D], database order: is the label the query's?

    @property
    def relevant(self) -> NDArray[np.bool_]:
        """Return relevance bool [Q, D] in ranked order."""
        return np.take_along_axis(self.same, self.order, axis=1)


def retrieve(database: CodeSet, queries: CodeSet) -> Ranking:
    """Rank the (shuffled) database for every query."""
    database = database.shuffled()
    distance = distances(queries.codes, database.codes)
    names = np.array([photo.label for photo in database.photos])
    wanted = np.array([photo.label for photo in queries.photos])
    return Ranking(database, queries, distance, rank(distance), wanted[:, None] == names[None])


def mean_ap(database: CodeSet, queries: CodeSet) -> float:
    """Return MAP@100 in percent."""
    relevant = retrieve(database, queries).relevant
    return 100 * float(average_precision(relevant, TOP).mean())


def best_possible_map(ranking: Ranking, alike: dict[str, str]) -> float:
    """Return MAP@100 in percent of a perfect code that cannot separate identical labels.

    `alike` maps a label to another with the same photos (see `duplicate_labels`).
    """
    names, wanted = (
        np.array([alike.get(photo.label, photo.label) for photo in side.photos])
        for side in (ranking.database, ranking.queries)
    )
    distance = (wanted[:, None] != names[None]).astype(np.uint16)
    return 100 * float(tie_aware_ap(distance, ranking.same, TOP).mean())


def figures(ranking: Ranking) -> dict[str, Any]:
    """Return all retrieval figures of one ranking, in percent."""
    relevant = ranking.relevant
    recall, precision = precision_recall(relevant)
    return {
        "queries": len(ranking.queries.photos),
        "database": len(ranking.database.photos),
        "map100": 100 * float(average_precision(relevant, TOP).mean()),
        "map100_tie_aware": 100 * float(tie_aware_ap(ranking.distance, ranking.same, TOP).mean()),
        "map_all": 100 * float(average_precision(relevant).mean()),
        "precision1": 100 * precision_at(relevant, 1),
        "precision10": 100 * precision_at(relevant, 10),
        "precision100": 100 * precision_at(relevant, TOP),
        "recall_precision": [
            [round(float(r), 3), round(float(p), 4)] for r, p in zip(recall, precision, strict=True)
        ],
    }


def per_label(ranking: Ranking) -> dict[str, dict[str, float]]:
    """Return MAP@100 and the number of queries of each label."""
    ap = average_precision(ranking.relevant, TOP)
    labels = np.array([photo.label for photo in ranking.queries.photos])
    return {
        str(label): {
            "queries": int((labels == label).sum()),
            "map100": round(100 * float(ap[labels == label].mean()), 2),
        }
        for label in np.unique(labels)
    }


def worst_pairs(ranking: Ranking, count: int = 15) -> list[dict[str, Any]]:
    """Return the label pairs confused most often by the nearest neighbor."""
    pairs: dict[tuple[str, str], int] = {}
    for row, photo in enumerate(ranking.queries.photos):
        found = ranking.database.photos[int(ranking.order[row, 0])].label
        if found != photo.label:
            pairs[photo.label, found] = pairs.get((photo.label, found), 0) + 1
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:count]
    return [{"label": a, "taken_for": b, "times": n} for (a, b), n in ordered]


def open_set_of(database: CodeSet, queries: CodeSet, bits: int) -> dict[str, Any]:
    """Measure the open set with galleries of 10 labels, drawn from all labels of `database`."""
    index = label_indices(database.photos)
    kept = queries.where(lambda photo: photo.label in index)
    measured = open_set_episodes(
        (database.codes, np.array([index[p.label] for p in database.photos], np.int64)),
        (kept.codes, np.array([index[p.label] for p in kept.photos], np.int64)),
        np.arange(len(index), dtype=np.int64),
        bits,
    )
    return {
        "auroc": measured.auroc,
        "radius": measured.radius,
        "accepted_known": [round(float(v), 4) for v in measured.accepted_known],
        "accepted_unknown": [round(float(v), 4) for v in measured.accepted_unknown],
    }


def acceptance_rates(measured: dict[str, Any], radius: int) -> tuple[float, float]:
    """Return the percentages of known and unknown open-set queries within `radius`."""
    known, unknown = (measured[side][radius] for side in ("accepted_known", "accepted_unknown"))
    return 100 * known, 100 * unknown


def code_health(codes: Code, bits: NDArray[np.bool_]) -> dict[str, float]:
    """Measure bit usage: balance of the worst bit, largest correlation, distinct codes."""
    values = np.asarray(bits, np.float64)
    balance = values.mean(0)
    spread = values.std(0) > 0
    correlation = np.atleast_2d(np.corrcoef(values[:, spread].T))
    np.fill_diagonal(correlation, 0)
    return {
        "least_balanced_bit": float(np.abs(balance - 0.5).max() + 0.5),
        "largest_correlation": float(np.abs(correlation).max()),
        "distinct_codes": len(np.unique(codes, axis=0)) / len(codes),
    }
