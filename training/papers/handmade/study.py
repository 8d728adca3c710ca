"""Run the hand-made systems beside networks and global features, each set for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time, thread_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.photo_sets import Photo, label_indices
from training.data.pixel_cache import PhotoReader
from training.data.splits import OFFICIAL, default_split, split_digest
from training.eval.metrics import distances
from training.hash_layer import handcrafted
from training.hash_layer.codes import to_codes
from training.hash_layer.features import clean_features
from training.methods.itq import fit_itq
from training.papers.files import FinishedRuns
from training.papers.handmade import boundary, gallery, ssfs, vhb
from training.papers.handmade.prepared import FEATURES, Prepared, prepare_all
from training.papers.judging import figures
from training.papers.kept import kept
from training.papers.networks import embed_all

GLOBAL_BITS = 64


@dataclass(frozen=True)
class Sides:
    """One set: its database and queries, readable photos only."""

    name: str
    database: PhotoReader
    queries: PhotoReader
    split: str

    @property
    def digest(self) -> str:
        """Return the digest of the split, as `evaluate` gives it."""
        parts = {"database": self.database.photos, "queries": self.queries.photos}
        return split_digest(OFFICIAL, parts)


def read_sides(photos: Sequence[Photo]) -> list[Sides]:
    """Split each set of `photos` as `evaluate` does."""
    found = []
    for source in dict.fromkeys(photo.source for photo in photos):
        own = [photo for photo in photos if photo.source == source]
        database, queries, split = default_split(own)
        found.append(Sides(source, PhotoReader(database), PhotoReader(queries), split))
    return found


def run_systems(
    sides: Sides, seeds: Sequence[int], folder: Path, finished: FinishedRuns
) -> dict[str, list[dict[str, Any]]]:
    """Return system and stage -> one result per seed, for VHB and SSFS."""
    stored = prepare_all(sides.database, folder)
    asked = prepare_all(sides.queries, folder)
    index = label_indices(sides.database.photos)
    places = np.array([index[photo.label] for photo in sides.database.photos], np.int64)
    table: dict[str, list[dict[str, Any]]] = {}
    for seed in seeds:
        for name, settings in (
            ("VHB", [vhb.BITS, vhb.OUTLINE, boundary.SIDE]),
            ("SSFS", [ssfs.BITS, ssfs.SALIENT, ssfs.DISTINCT]),
        ):
            key = {
                "system": name, "settings": settings, "features": FEATURES, "seed": seed,
                "tables": [gallery.TABLES, gallery.RADIUS, gallery.MOST_KEY_BITS, gallery.MATCHES],
                "split": sides.digest,
            }  # fmt: skip
            results = finished.find(key)
            if results is None:
                system = vhb.Vhb(stored, seed) if name == "VHB" else ssfs.Ssfs(stored, places, seed)
                results = _judge(system, sides, asked)
                finished.add(key, results)
            for result in results:
                table.setdefault(f"{name}: {result['stage']}", []).append(result)
    return table


def _judge(
    system: vhb.Vhb | ssfs.Ssfs, sides: Sides, asked: Sequence[Prepared]
) -> list[dict[str, Any]]:
    start = thread_time()
    scores = [system.scores(query) for query in asked]
    search = 1000 * (thread_time() - start) / len(asked)
    results = []
    for number, stage in enumerate(system.stages):
        found = np.stack([each[number] for each in scores])
        results.append(_result(stage, found, sides)
            | {"bytes": float(np.mean([system.sent(query)[number] for query in asked])),
               "ms": float(np.mean([system.ms(query)[number] for query in asked])),
               "search_ms": search})  # fmt: skip
    return results


def _result(stage: str, scores: NDArray[np.float32], sides: Sides) -> dict[str, Any]:
    map100, first = figures(scores, sides.database.photos, sides.queries.photos)
    return {"stage": stage, "map100": map100, "p1": first}


def run_network(model: Path, sides: Sides, folder: Path) -> dict[str, Any]:
    """Return the result of a network's codes; its `stage` is the name of the model."""
    stored, asked = (embed_all(model, each, folder) for each in (sides.database, sides.queries))
    scores = -distances(asked.codes, stored.codes).astype(np.float32)
    size = asked.codes.shape[1] * 8
    return _result(asked.name, scores, sides) | {
        "bits": asked.bits,
        "bytes": size,
        "ms": float(asked.ms.mean()),
    }


def run_global(sides: Sides, seeds: Sequence[int], folder: Path) -> list[list[dict[str, Any]]]:
    """Return the results of global features: one by cosine, and one per seed of their ITQ codes."""
    parts = [_global_features(each, folder) for each in (sides.database, sides.queries)]
    (stored, _), (asked, ms) = parts
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (stored, asked)]
    cost = {"bytes": 4 * asked.shape[1], "ms": ms}
    table = [[_result(f"{asked.shape[1]} floats, cosine", unit[1] @ unit[0].T, sides) | cost]]
    table.append([])
    for seed in seeds:
        layer = fit_itq(stored, GLOBAL_BITS, seed)
        near = distances(to_codes(asked, layer), to_codes(stored, layer)).astype(np.float32)
        cost = {"bytes": GLOBAL_BITS // 8, "ms": ms}
        table[-1].append(_result(f"{GLOBAL_BITS} bits (ITQ)", -near, sides) | cost)
    return table


def _global_features(reader: PhotoReader, folder: Path) -> tuple[NDArray[np.float32], float]:
    def compute() -> dict[str, NDArray[Any]]:
        start = process_time()  # of all threads
        features = clean_features(handcrafted.run, reader, handcrafted.SIZE)
        spent = 1000 * (process_time() - start) / len(reader)
        return {"features": features, "ms": np.array(spent)}

    arrays = kept(folder, "global", "1", reader.photos, compute)
    return arrays["features"], float(arrays["ms"])
