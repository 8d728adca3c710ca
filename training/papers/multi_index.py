"""Compare the ways to divide the bits of a code among the parts of multi-index hashing.

Norouzi et al. (2012) divide them in their order; HDIdx (Wan et al. 2015) keeps correlated bits
apart, as the runtime's index does. The answers are the same, exact ones: only the work differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from time import thread_time
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_runtime.code import Code, pack, unpack
from edge_runtime.engine.portable import PortableEngine
from edge_runtime.lookup import to_bytes
from edge_runtime.lookup.compiled import kernels
from edge_runtime.lookup.multi_index import MultiIndex
from edge_runtime.lookup.row_filter import ALL
from training.cli import log
from training.data.photo_sets import Photo, read_sets
from training.data.pixel_cache import open_cache
from training.data.splits import default_split
from training.hash_layer.codes import to_codes
from training.hash_layer.feature_model import FeatureModel, from_model, read_head
from training.hash_layer.stored_features import stored_passes
from training.methods.linear_map import LinearMap
from training.papers.files import FinishedRuns
from training.papers.rows import SEEDS, Row

IN_ORDER, AT_RANDOM, APART = "in order", "at random", "apart"
SYSTEMS = {
    IN_ORDER: ("multi-index hashing, bits in their order", "Norouzi et al. 2012, CVPR"),
    AT_RANDOM: ("multi-index hashing, bits at random", "a control"),
    APART: ("HDIdx: correlated bits apart", "Wan et al. 2015, arXiv:1510.01991"),
}
NEIGHBORS = 10
"""Nearest codes that are asked for."""
NOISE = 0.05
"""Chance of each bit of a copy to differ, where copies of codes make a larger gallery."""


def codes_of(folders: Sequence[Path], model: Path, out: Path) -> tuple[Code, Code, int]:
    """Return the codes of the databases and of the queries of all sets, and their bits.

    Features are kept in `out`, as those of `papers unlabelled`. Raises DataError.
    """
    database, queries, _ = default_split(read_sets(folders))
    backbone, head = from_model(model), read_head(onnx.load(model))
    sides = [_codes(backbone, head, photos, out / "features") for photos in (database, queries)]
    return sides[0], sides[1], PortableEngine(model).model.bits


def _codes(backbone: FeatureModel, head: LinearMap, photos: Sequence[Photo], out: Path) -> Code:
    sources = dict.fromkeys(photo.source for photo in photos)
    found = []
    for source in sources:  # one set after another, as `papers unlabelled` stores them
        cache = open_cache([photo for photo in photos if photo.source == source])
        found.append(to_codes(stored_passes(backbone, cache, 0, 1, out)[0], head))
    return np.concatenate(found)


def grown(codes: Code, bits: int, count: int) -> Code:
    """Return `count` codes: `codes`, and copies of them with some bits changed."""
    if count <= len(codes):
        return codes[:count]
    rng = np.random.default_rng(1)
    copies = codes[rng.integers(0, len(codes), count - len(codes))]
    changed = unpack(copies, bits) ^ (rng.random((len(copies), bits)) < NOISE)
    return np.concatenate([codes, pack(changed)])


def run_all(
    stored: Code, asked: Code, bits: int, sizes: Sequence[int], seeds: int, finished: FinishedRuns
) -> list[Row]:
    """Judge every division in galleries of `sizes` codes; what is in `finished` is not repeated."""
    rows = []
    for size in sizes:
        codes = to_bytes(grown(stored, bits, size), bits)
        for way in SYSTEMS:
            results = []
            for seed in range(1, 1 + (seeds if way == AT_RANDOM else 1)):
                key = {"way": way, "seed": seed, "codes": len(codes), "bits": bits,
                       "queries": len(asked), "sum": int(codes.sum(dtype=np.int64))}  # fmt: skip
                if finished.find(key) is None:
                    finished.add(key, _judge(codes, to_bytes(asked, bits), bits, way, seed))
                    log(f"{size} codes, {way}, seed {seed}: {finished.find(key)}")
                results.append(finished.find(key))
            rows.append(_row(way, len(codes), results))
    return rows


def _judge(
    codes: NDArray[np.uint8], asked: NDArray[np.uint8], bits: int, way: str, seed: int
) -> dict[str, Any]:
    order = {
        IN_ORDER: np.arange(bits),
        AT_RANDOM: np.random.default_rng(seed).permutation(bits),
        APART: None,
    }[way]
    index = MultiIndex(codes, bits, order=order)
    kernel, work, times = kernels()[0], [], []
    for query in asked:
        start = thread_time()
        _, done = index.nearest(query, min(NEIGHBORS, len(codes)), ALL, kernel)
        times.append(1000 * (thread_time() - start))
        work.append(done)
    return {"work": float(mean(work)), "ms": float(median(times)), "parts": index.parts}


def _row(way: str, size: int, results: Sequence[dict[str, Any]]) -> Row:
    system, source = SYSTEMS[way]
    few = f"{len(results)} of {SEEDS} seeds" if len(results) < SEEDS else ""
    return Row(
        system=system, source=source, setting=f"{size:,} codes", measure="candidates per query",
        values=[round(each["work"], 1) for each in results],
        one_seed_reason=few if way == AT_RANDOM else "deterministic",
        differs="Codes of this project's general network; the paper indexes SIFT and GIST.",
        extra={"parts": results[0]["parts"],
               "median CPU time (ms)": round(mean(each["ms"] for each in results), 4)},
    )  # fmt: skip
