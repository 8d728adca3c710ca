"""Send the queries of one set in every way, and judge the answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engine.portable import PortableEngine
from edge_runtime.fitting.prior import prior_of
from edge_runtime.image.preprocess import preprocess
from training.data.photo_sets import Photo, label_indices
from training.papers.files import FinishedRuns
from training.papers.handmade import vhb
from training.papers.handmade.prepared import FEATURES, prepare_all
from training.papers.handmade.study import Sides
from training.papers.judging import figures
from training.papers.networks import embed_all
from training.papers.transmission import ways

Result = dict[str, Any]
"""One way in one setting: way, setting, bytes, map100, p1."""
_SAMPLE_SEED = 2017


def chosen_queries(count: int, most: int) -> NDArray[np.int64]:
    """Return up to `most` of `count` rows, drawn at random, always the same ones."""
    rows = np.random.default_rng(_SAMPLE_SEED).permutation(count)[:most]
    return np.sort(rows).astype(np.int64)


def run_set(
    sides: Sides, model: Path, seeds: Sequence[int], most: int, folder: Path, finished: FinishedRuns
) -> list[list[Result]]:
    """Return the results of each way and setting: one per seed, or one if nothing is random.

    `most` queries are sent at most. Raises ModelError if `model` gives no features.
    """
    rows = chosen_queries(len(sides.queries), most)
    photos = [sides.queries.photos[int(row)] for row in rows]
    engine = PortableEngine(model, threads=1)
    info = engine.model
    try:
        stored = embed_all(model, sides.database, folder).features
        asked = embed_all(model, sides.queries, folder).features[rows]
        index = label_indices(sides.database.photos)
        labels = np.array([index[photo.label] for photo in sides.database.photos], np.int64)
        base = {"model": info.id, "split": sides.digest, "queries": len(rows)}

        def image(row: int) -> NDArray[np.uint8]:
            return sides.queries[int(rows[row])]

        def embed(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            features = engine.embed(preprocess(pixels, info.input.size)).features
            assert features is not None  # embed_all gave some
            return features.ravel()

        def local(seed: int) -> Iterator[ways.Sent]:
            kept = [each.features for each in prepare_all(sides.database, folder)]
            queries = prepare_all(sides.queries, folder)
            return ways.local_queries(kept, [queries[int(row)].features for row in rows], seed)

        def judged(name: str, settings: object, seed: int, sent: Iterable[ways.Sent]) -> None:
            key = {**base, "group": name, "settings": settings, "seed": seed}
            results = finished.find(key)
            if results is None:
                results = [_judged(each, sides.database.photos, photos) for each in sent]
                finished.add(key, results)
            for result in results:
                table.setdefault((result["way"], result["setting"]), []).append(result)

        table: dict[tuple[str, str], list[Result]] = {}
        prior = prior_of(info)
        judged("global", 1, 0, ways.global_queries(stored, asked))
        hashed = [ways.LENGTHS, ways.GAPS, ways.STEP]
        for seed in seeds:
            sent = ways.hash_queries(stored, labels, asked, prior, seed)
            judged("hash", hashed, seed, sent)
        judged("scaled", ways.SCALED, 0, ways.scaled_photos(image, len(rows), embed, stored))
        for seed in seeds:
            settings = [FEATURES, vhb.BITS, ways.COUNTS, ways.PARTS, "stored features coded, too"]
            judged("local", settings, seed, _late(local, seed))
    finally:
        engine.close()
    return list(table.values())


def _late(make: Any, seed: int) -> Iterator[ways.Sent]:
    """Start `make` only when the first item is asked for: a finished run builds no index."""
    yield from make(seed)


def _judged(sent: ways.Sent, database: Sequence[Photo], queries: Sequence[Photo]) -> Result:
    map100, first = figures(sent.scores, database, queries)
    return {
        "way": sent.way,
        "setting": sent.setting,
        "bytes": round(sent.bytes, 1),
        "map100": map100,
        "p1": first,
    }
