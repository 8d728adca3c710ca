"""Judge new objects: enroll a few photos of each, then query their other photos and strangers.

Strangers are photos of labels that are not enrolled. Every figure comes from the runtime's own
path: a gallery file, its enrollment with views, and its pipeline with the default settings.

A draw is one random order of the labels and of each label's photos. A gallery of n labels with k
photos each holds the first k photos of the first n labels that have more than k. Its queries are
the other photos of these labels. Draws depend on the photos and the seed alone, so a row does not
change with the other rows of a run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engine import Engine
from edge_runtime.enroll import EnrollOptions, enroll_photos, fit_if_due
from edge_runtime.fitting.calibration import Calibration
from edge_runtime.gallery import Gallery
from edge_runtime.image import Image
from edge_runtime.model import identify
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.types import QueryResult
from training.cli import log
from training.data.photo_sets import DataError, Photo, read_set, read_sets
from training.data.splits import held_out_labels
from training.eval.caching_engine import CachingEngine
from training.eval.metrics import auroc, average_precision, precision_at
from training.eval.photo_pool import Pool, shuffled
from training.eval.reliability import Answer, tally, total
from training.eval.retrieval import TOP

HEADS = {
    "right": "right", "unknown": "unknown", "wrong": "wrong", "named": "strangers named",
    "auroc": "AUROC", "precision1": "P@1", "map100": "MAP@100",
}  # fmt: skip
"""The figures of each row and their names in tables. All are percentages, but "auroc" is 0 to 1."""
FIGURES = tuple(HEADS)
ALL = 0
"""As a number of labels: all that have enough photos."""
FEWEST_STRANGERS = 0.05
"""Share of the labels that must be left for their photos to serve as strangers."""
QUERIES = 300
"""Most queries, and most strangers, of one gallery; a random part of more is used."""


@dataclass(frozen=True)
class Protocol:
    """What is measured; everything in it is part of the result."""

    labels: tuple[int, ...] = (5, 10, 20, 50, 100, 200, ALL)
    """Sizes of the galleries, in labels. Sizes that the photos do not allow are left out."""
    photos: tuple[int, ...] = (1, 3, 5, 10)
    """Photos enrolled per label."""
    draws: int = 5
    seed: int = 1
    most: int = 20
    """Photos used per label. This bounds the time; the choice is random."""
    left_out: int = 5
    """When fewer labels than `FEWEST_STRANGERS` are not enrolled, this number of the others is left
    out per draw, one at a time. Each is a stranger to the gallery of the rest. The next draw takes
    the next labels."""
    second_look: bool = True
    """Whether the middle of a photo that stays unknown is hashed as well."""


Score = Callable[[QueryResult, Calibration | None], float]
"""How known a query looks, given the calibration of its gallery; only the order matters."""


def nearness(result: QueryResult, calibration: Calibration | None) -> float:
    """Return the score of a query: its similarity, or its nearest distance in bits, negative.

    The similarity is that of the most similar label, known or not, in spreads above the mean of
    strangers: a fitted similarity has another scale. A gallery without features has none.
    """
    if result.verdict.similarity is not None and calibration is not None:
        scale = calibration.of_looks(2)
        return (result.verdict.similarity - scale.stranger_mean) / scale.stranger_spread
    return -min(match.score for match in result.matches)


def fit_to_gallery(engine: Engine, gallery: Gallery) -> None:
    """Bring everything that the runtime fits to a gallery up to date with its content.

    The calibration follows the gallery by itself; the fit is what `edge-runtime enroll` starts.
    """
    fit_if_due(engine, gallery)


@contextmanager
def gallery_of(engine: Engine, photos: Iterable[tuple[str, Image]]) -> Iterator[Gallery]:
    """Enroll labels and pictures (uint8 H x W x 3, BGR) in a new gallery file."""
    with (
        tempfile.TemporaryDirectory(prefix="edge-strangers-") as folder,
        Gallery(Path(folder) / "gallery.sqlite", engine.model, create=True) as gallery,
    ):
        result = enroll_photos(engine, gallery, photos, EnrollOptions(thumbnails=False))
        if result.faults:
            raise result.faults[0]
        fit_to_gallery(engine, gallery)
        yield gallery


def judge(
    engine: Engine,
    pool: Pool,
    protocol: Protocol,
    strangers: Pool | None = None,
    score: Score = nearness,
) -> list[dict[str, Any]]:
    """Return one row per number of photos and gallery size: the figures over all draws.

    `strangers`: photos of none of the pool's labels, used in place of its labels that are not
    enrolled. `engine` should cache (`CachingEngine`). Raises DataError if no gallery can be made.
    """
    draws = [
        _Draw(engine, pool, protocol, number, strangers, score) for number in range(protocol.draws)
    ]
    least = 2 if strangers is None else 1
    rows: list[dict[str, Any]] = []
    for count in protocol.photos:
        labels = len(pool.having_more_than(count))
        for size in sorted({size or labels for size in protocol.labels}):
            if least <= size <= labels:
                log(f"{count} photos of each of {size} labels")
                judged = [draw.judge(count, size) for draw in draws]
                rows.append({"photos": count, "labels": size, **_summary(judged)})
        if labels < least:
            log(f"note: not measured with {count} photos: labels with more: {labels}")
    if not rows:
        raise DataError(
            f"the photos allow no gallery of this size (labels: {len(pool.by_label)}, most photos"
            f" of one: {max(map(len, pool.by_label.values()))})",
            where="--data",
            remedy=f"a gallery needs at least {least} with a photo more than --photos;"
            " --labels may be too large",
        )
    return rows


def _summary(judged: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the numbers of queries, the range of each figure, and the tally of the confidence."""
    counts = {name: int(sum(each[name] for each in judged)) for name in ("queries", "strangers")}
    values = {name: [each[name] for each in judged] for name in FIGURES}
    return (
        counts
        | {"tally": total(each["tally"] for each in judged)}
        | {
            name: {
                "median": round(float(np.median(found)), 4),
                "lowest": round(min(found), 4),
                "highest": round(max(found), 4),
            }
            for name, found in values.items()
        }
    )


class _Draw:
    """One random order of labels and photos, and the galleries that follow it."""

    def __init__(
        self,
        engine: Engine,
        pool: Pool,
        protocol: Protocol,
        number: int,
        strangers: Pool | None,
        score: Score,
    ) -> None:
        self._engine = engine
        self._pool = pool
        self._protocol = protocol
        self._number = number
        self._others = strangers
        self._score = score
        rng = self._rng()
        self._photos = {label: shuffled(rng, own) for label, own in pool.by_label.items()}
        self._order = shuffled(rng, list(pool.by_label))

    def judge(self, count: int, size: int) -> dict[str, Any]:
        """Return the figures and the tally of `count` photos of each of `size` labels."""
        usable = [label for label in self._order if len(self._photos[label]) > count]
        enrolled = usable[:size]
        queries = self._sample([p for label in enrolled for p in self._photos[label][count:]])
        with self._gallery(enrolled, count) as gallery:
            known = self._query(gallery, self._pool, queries)
            relevant = self._relevance(gallery, queries)
            others = self._others or self._pool
            outside = self._outside(enrolled)
            strangers = self._query(gallery, others, outside)
        if not outside:
            strangers = self._query_left_out(enrolled, count)
        truth = [photo.label for photo in queries]
        right = sum(a.label == label for a, label in zip(known, truth, strict=True))
        unknown = sum(answer.label is None for answer in known)
        named = sum(answer.label is not None for answer in strangers)
        known_scores, stranger_scores = (
            np.array([answer.score for answer in side]) for side in (known, strangers)
        )
        return {
            "queries": len(queries),
            "strangers": len(strangers),
            "right": 100 * right / len(queries),
            "unknown": 100 * unknown / len(queries),
            "wrong": 100 * (len(queries) - right - unknown) / len(queries),
            "named": 100 * named / len(strangers),
            "auroc": auroc(-known_scores, -stranger_scores),
            "precision1": 100 * precision_at(relevant, 1),
            "map100": 100 * float(average_precision(relevant, TOP).mean()),
            "tally": tally(known, truth, strangers),
        }

    def _outside(self, enrolled: Sequence[str]) -> list[Photo]:
        """Return the strangers to a gallery of `enrolled`; empty if too few labels are left."""
        if self._others is not None:
            return self._sample([p for own in self._others.by_label.values() for p in own])
        left = [label for label in self._photos if label not in set(enrolled)]
        if len(left) < FEWEST_STRANGERS * len(self._photos):
            return []
        return self._sample([p for label in left for p in self._photos[label]])

    def _query_left_out(self, enrolled: Sequence[str], count: int) -> list[Answer]:
        """Query some labels, each in a gallery of all others; the next draw takes the next ones."""
        ordered = shuffled(np.random.default_rng(self._protocol.seed), sorted(enrolled))
        take = min(self._protocol.left_out, len(ordered))
        first = self._number * take
        results: list[Answer] = []
        for label in (ordered[(first + step) % len(ordered)] for step in range(take)):
            with self._gallery([each for each in enrolled if each != label], count) as gallery:
                results += self._query(gallery, self._pool, self._photos[label])
        return results

    def _gallery(self, labels: Sequence[str], count: int) -> AbstractContextManager[Gallery]:
        """Enroll `count` photos of each of `labels` in a new gallery file."""
        chosen = [photo for label in labels for photo in self._photos[label][:count]]
        # Equal distances rank in order of enrollment: a label's photos must not be adjacent.
        mixed = shuffled(self._rng(), chosen)
        return gallery_of(self._engine, [(each.label, self._pool.image(each)) for each in mixed])

    def _query(self, gallery: Gallery, pool: Pool, photos: Sequence[Photo]) -> list[Answer]:
        """Query `photos` of `pool` with the default settings."""
        calibration = gallery.calibration()
        pipeline = Pipeline(self._engine, gallery, second_look=self._protocol.second_look)
        results = (pipeline.query(pool.image(photo)) for photo in photos)
        return [
            Answer(one.label, self._score(one, calibration), one.verdict.confidence)
            for one in results
        ]

    def _relevance(self, gallery: Gallery, photos: Sequence[Photo]) -> NDArray[np.bool_]:
        """Return bool [Q, P]: whether each of all pictures, best first, has the query's label."""
        pictures = gallery.stats().pictures
        twice = self._protocol.second_look
        pipeline = Pipeline(self._engine, gallery, neighbors=pictures, second_look=twice)
        relevant = np.zeros((len(photos), pictures), np.bool_)
        for row, photo in zip(relevant, photos, strict=True):
            matches = pipeline.query(self._pool.image(photo)).matches
            row[: len(matches)] = [match.label == photo.label for match in matches]
        return relevant

    def _sample(self, photos: list[Photo]) -> list[Photo]:
        return shuffled(self._rng(), photos, QUERIES) if len(photos) > QUERIES else photos

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng((self._protocol.seed, self._number))


def judge_sets(
    engine: Engine,
    data: Sequence[Path],
    strangers: Path | None,
    protocol: Protocol,
    unseen: Path | None = None,
) -> dict[str, Any]:
    """Judge the folders `data` as one set, and return the result to store.

    `strangers` is a folder of other things, `unseen` a stored split: only the labels that it holds
    out are judged. Raises DataError or NoPhotosError.
    """
    if max(protocol.photos) >= protocol.most:
        raise DataError(
            f"{max(protocol.photos)} photos per label leave no query of {protocol.most}",
            where="--photos",
            remedy="enroll fewer photos, or raise --most",
        )
    if strangers is not None and strangers.resolve() in [folder.resolve() for folder in data]:
        raise DataError(
            "strangers cannot come from the folder that is enrolled",
            where=strangers,
            remedy="give another folder, or leave out --strangers",
        )
    photos = read_sets(data)
    if unseen is not None:
        held_out = held_out_labels(unseen, photos)
        photos = [photo for photo in photos if photo.label in held_out]
    pool = Pool(photos, protocol.most, protocol.seed)
    others = None
    origin = "labels that are not enrolled"
    if strangers is not None:
        others = Pool(read_set(strangers), protocol.most, protocol.seed)
        origin = f"{len(others)} photos of {len(others.by_label)} labels of {strangers.name}"
    for line in pool.skipped + (others.skipped if others else []):
        log(f"skipped {line}")
    for label in sorted(label for label, own in pool.by_label.items() if len(own) == 1):
        log(f"note: label {label} has one photo: it is only a stranger")
    model = engine.model
    return {
        "set": " + ".join(dict.fromkeys(photo.source for photo in photos)),
        "all_photos": len(pool),
        "all_labels": len(pool.by_label),
        "skipped": pool.skipped,
        "model": model.name, "version": model.version, "id": model.id, "bits": model.bits,
        "radius": model.radius, "engine": engine.name,
        "unseen": identify(unseen)[0] if unseen else None,
        "protocol": {**asdict(protocol), "queries": QUERIES, "strangers": origin},
        "rows": judge(CachingEngine(engine), pool, protocol, others),
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """Format the figures as text: the median of the draws (lowest to highest)."""
    lines = [
        f"{result['model']} on {result['set']}: {result['all_photos']} photos of"
        f" {result['all_labels']} labels, {result['protocol']['draws']} draws; strangers:"
        f" {result['protocol']['strangers']}",
        f"{'photos':>6}{'labels':>7}" + "".join(f"{HEADS[name]:>23}" for name in FIGURES),
    ]
    for row in result["rows"]:
        cells = "".join(f"{spread(name, row[name]):>23}" for name in FIGURES)
        lines.append(f"{row['photos']:>6}{row['labels']:>7}{cells}")
    return "\n".join(lines)


def spread(name: str, found: dict[str, float]) -> str:
    """Format one figure: the median, with the lowest and the highest in brackets."""
    digits = 3 if name == "auroc" else 1
    median, lowest, highest = (
        f"{found[key]:.{digits}f}" for key in ("median", "lowest", "highest")
    )
    return f"{median} ({lowest} to {highest})"
