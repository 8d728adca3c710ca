"""Compare a new hash layer with the shipped one: what is found, and whether strangers stay unknown.

The labels are divided into folds. The labels of a fold are strangers to a gallery of all others,
and to the layer, which is fitted without them. Galleries and queries are the runtime's own, with
its default settings. Held-out photos of the enrolled labels show what is recognized.

Photos of one label resemble each other, so the sampling error comes from resampling whole labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engine.base import Engine
from edge_runtime.fitting.calibration import FALSE_NAME_RATE
from edge_runtime.gallery import Gallery
from edge_runtime.image import Image
from edge_runtime.recognition.pipeline import Pipeline, code_of
from training.cli import log
from training.data.pixel_cache import PixelCache
from training.eval.photo_pool import shuffled
from training.eval.strangers import gallery_of

FOLDS = 5
DRAWS = 1000
"""Resamples of the bootstrap."""
MOST = 20
"""Most photos of one label that are queried in a gallery."""
RADIUS_LABELS = 10
"""Labels that are needed to measure a radius."""
SHIPPED, NEW = "shipped", "new"
Doubles = NDArray[np.float64]


@dataclass
class Queries:
    """Queries of one kind, strangers or known things, over all folds."""

    labels: list[str] = field(default_factory=list)
    """The true labels."""
    answers: list[str | None] = field(default_factory=list)
    distances: list[int] = field(default_factory=list)
    """Distance of the nearest code in the gallery, bits."""

    def ask(self, pipeline: Pipeline, image: Image, label: str) -> None:
        """Query one photo."""
        self.labels.append(label)
        self.answers.append(pipeline.query(image).verdict.label)
        code = code_of(pipeline.engine, image)
        self.distances.append(pipeline.gallery.search(code, 1)[0].distance)

    def named(self) -> Doubles:
        """Return 1 for each query that got a label, else 0."""
        return np.array([answer is not None for answer in self.answers], np.float64)

    def right(self) -> Doubles:
        """Return 1 for each query that got its own label, else 0."""
        pairs = zip(self.answers, self.labels, strict=True)
        return np.array([answer == label for answer, label in pairs], np.float64)

    def within(self, radius: int) -> Doubles:
        """Return 1 for each query whose nearest code is within `radius` bits, else 0."""
        return (np.array(self.distances) <= radius).astype(np.float64)


@dataclass
class Answers:
    """What one model answered."""

    strangers: Queries = field(default_factory=Queries)
    known: Queries = field(default_factory=Queries)


Engines = Callable[[Set[str]], Mapping[str, Engine]]
"""Labels to fit without -> the engine of each model."""


def ask_all(
    engines: Engines, database: PixelCache, held_out: PixelCache, seed: int
) -> dict[str, Answers]:
    """Query strangers and known things in the gallery of each fold, with every model."""
    rng = np.random.default_rng(seed)
    labels = shuffled(rng, sorted({photo.label for photo in database.photos}))
    found: dict[str, Answers] = {}
    for number in range(FOLDS):
        log(f"strangers, part {number + 1} of {FOLDS}")
        outside = set(labels[number::FOLDS])
        enrolled = [
            (_plain(photo.label), database[row])
            for row, photo in enumerate(database.photos)
            if photo.label not in outside
        ]
        # Equal distances rank in order of enrollment: a label's photos must not be adjacent.
        enrolled = shuffled(np.random.default_rng(seed), enrolled)
        strangers = [*_photos(database, outside), *_photos(held_out, outside)]
        known = _photos(held_out, set(labels) - outside)
        for name, engine in engines(outside).items():
            answers = found.setdefault(name, Answers())
            with gallery_of(engine, enrolled) as gallery:
                _ask(engine, gallery, strangers, answers.strangers)
                _ask(engine, gallery, known, answers.known)
    return found


def _plain(label: str) -> str:
    """Return a label without slashes, which a gallery does not accept."""
    return label.replace("/", ": ")


def _photos(cache: PixelCache, labels: Set[str]) -> list[tuple[str, Image]]:
    """Return at most `MOST` photos of each of `labels`."""
    counts = dict.fromkeys(labels, 0)
    chosen = []
    for row, photo in enumerate(cache.photos):
        if counts.get(photo.label, MOST) < MOST:
            counts[photo.label] += 1
            chosen.append((_plain(photo.label), cache[row]))
    return chosen


def _ask(
    engine: Engine, gallery: Gallery, photos: Sequence[tuple[str, Image]], queries: Queries
) -> None:
    pipeline = Pipeline(engine, gallery)
    for label, image in photos:
        queries.ask(pipeline, image, label)


@dataclass(frozen=True)
class Comparison:
    """The shares of both models, and what speaks against the new one."""

    figures: dict[str, object]
    """For the report; shares in percent."""
    objections: list[str]
    """Why the new model must not be kept; empty if nothing speaks against it."""


def compare(found: Mapping[str, Answers], radii: Mapping[str, int], seed: int) -> Comparison:
    """Compare the new model with the shipped one, each with its radius in bits."""
    old, new = found[SHIPPED], found[NEW]
    strangers, known = new.strangers.labels, new.known.labels
    named = [each.strangers.named() for each in (old, new)]
    right = [each.known.right() for each in (old, new)]
    within = [found[name].strangers.within(radii[name]) for name in (SHIPPED, NEW)]
    objections = []
    if _lowest(named[1], strangers, seed) > FALSE_NAME_RATE:
        objections.append(f"more than {FALSE_NAME_RATE:.0%} of strangers are named")
    if _lowest(named[1] - named[0], strangers, seed) > 0:
        objections.append("more strangers are named than with the shipped model")
    if _lowest(within[1], strangers, seed) > FALSE_NAME_RATE:
        objections.append(f"more than {FALSE_NAME_RATE:.0%} of strangers are within the radius")
    if _lowest(right[0] - right[1], known, seed) > 0:
        objections.append("fewer held-out photos are recognized than with the shipped model")
    figures: dict[str, object] = {
        "strangers": len(strangers),
        "stranger_labels": len(set(strangers)),
        "known_queries": len(known),
    }
    for place, name in enumerate((SHIPPED, NEW)):
        figures |= {
            f"{name}_strangers_named": _percent(named[place]),
            f"{name}_strangers_within_radius": _percent(within[place]),
            f"{name}_right": _percent(right[place]),
            f"{name}_known_within_radius": _percent(found[name].known.within(radii[name])),
        }
    return Comparison(figures, objections)


def _percent(values: Doubles) -> float:
    return round(100 * float(values.mean()), 2)


def _lowest(values: Doubles, labels: Sequence[str], seed: int) -> float:
    """Return the 5 % quantile of the mean of `values` [N] over resamples of the `labels`."""
    index = np.unique(labels, return_inverse=True)[1]
    sums, counts = np.bincount(index, values), np.bincount(index)
    drawn = np.random.default_rng(seed).integers(0, len(counts), (DRAWS, len(counts)))
    return float(np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), 0.05))
