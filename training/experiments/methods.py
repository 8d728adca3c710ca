"""Compare hashing methods at several code lengths on fixed features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.cli import log
from training.data.input_tensor import Floats
from training.data.photo_sets import Photo, label_indices
from training.data.splits import class_split
from training.eval.metrics import average_precision
from training.eval.retrieval import SHUFFLE_SEED, TOP, CodeSet, mean_ap
from training.hash_layer.codes import to_codes
from training.hash_layer.fit import HeadRecipe, fit_head
from training.hash_layer.radius import (
    UNSEEN_SEED,
    UNSEEN_SHARE,
)
from training.methods import END_TO_END_ONLY, SUPERVISED, SURVEY, UNSUPERVISED

_ELSEWHERE = {*END_TO_END_ONLY, *SURVEY}  # the survey's methods have their own table
METHODS = (*UNSUPERVISED, *(name for name in SUPERVISED if name not in _ELSEWHERE))


@dataclass(frozen=True)
class Part:
    """Photos and their features float32 [N, F]."""

    photos: list[Photo]
    features: Floats

    def where(self, chosen: NDArray[np.bool_]) -> Part:
        """Return the rows `chosen`."""
        return Part(
            [p for p, c in zip(self.photos, chosen, strict=True) if c], self.features[chosen]
        )

    def labelled(self, labels: set[str]) -> Part:
        """Return the photos of `labels`."""
        return self.where(np.array([photo.label in labels for photo in self.photos]))

    def of(self, source: str) -> Part:
        """Return the photos of one set."""
        return self.where(np.array([photo.source == source for photo in self.photos]))


def float_map(database: Part, queries: Part) -> float:
    """Return MAP@100 in percent of ranking float features by cosine."""
    rows = np.random.default_rng(SHUFFLE_SEED).permutation(len(database.photos))
    names = np.array([database.photos[int(row)].label for row in rows])
    wanted = np.array([photo.label for photo in queries.photos])
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True)
            for part in (database.features[rows], queries.features)]  # fmt: skip
    order = np.argsort(-(unit[1] @ unit[0].T), axis=1, kind="stable")
    return 100 * float(average_precision(names[order] == wanted[:, None], TOP).mean())


def compare(
    database: Part,
    queries: Part,
    lengths: tuple[int, ...],
    seeds: Sequence[int],
    only: str = "",
    methods: tuple[str, ...] = METHODS,
) -> dict[str, dict[str, Any]]:
    """Return source -> "seen" / "unseen" -> method -> bits -> MAP@100 in percent.

    Values are means over `seeds`. `only` "seen" or "unseen" omits the other half.
    """
    sources = sorted({photo.source for photo in database.photos})
    seen, unseen = class_split(database.photos, UNSEEN_SHARE, UNSEEN_SEED)
    hidden = {photo.label for photo in unseen}
    seen_labels = {photo.label for photo in seen}
    table: dict[str, dict[str, Any]] = {
        source: {"seen": {}, "unseen": {}, "unseen_labels": sum(
            label.startswith(f"{source}/") or len(sources) == 1 for label in hidden)}
        for source in sources
    }  # fmt: skip
    for source in sources:
        base, query_part = database.of(source), queries.of(source)
        width = str(base.features.shape[1])
        table[source]["seen"]["float"] = {width: round(float_map(base, query_part), 2)}
        query_part = query_part.labelled(hidden)
        table[source]["unseen"]["float"] = {width: round(float_map(base, query_part), 2)}
    for name in methods:
        for bits in lengths:
            for which, fitted in (("seen", database), ("unseen", database.labelled(seen_labels))):
                if only not in ("", which):
                    continue
                index = label_indices(fitted.photos)
                labels = np.array([index[photo.label] for photo in fitted.photos], np.int64)
                heads = [
                    fit_head([fitted.features], labels, len(index),
                             HeadRecipe(method=name, bits=bits, seed=seed))
                    for seed in seeds
                ]  # fmt: skip
                for source in sources:
                    base, query_part = database.of(source), queries.of(source)
                    if which == "unseen":
                        query_part = query_part.labelled(hidden)
                    value = mean(
                        mean_ap(
                            CodeSet(base.photos, to_codes(base.features, head)),
                            CodeSet(query_part.photos, to_codes(query_part.features, head)),
                        )
                        for head in heads
                    )
                    table[source][which].setdefault(name, {})[str(bits)] = round(value, 2)
                    log(f"{name}, {bits} bits, {source}, {which} labels: {value:.2f}")
    return table
