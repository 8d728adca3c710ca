"""What the runtime computes here, to be compared with what it computes elsewhere.

python answers.py PICTURES.npy BUNDLE SMALL_PICTURES.npy INT8_BUNDLE
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import numpy as np

from edge_runtime.image import Image
from edge_runtime.image.preprocess import preprocess
from edge_runtime.lookup import ALL, Lookup, rows_where
from edge_runtime.lookup.planner import Planner

THREADS = (1, 4)


def codes(bundle: str, made: Image) -> dict[str, Any]:
    """The engine that serves a bundle, and its codes with one thread and with several."""
    from edge_runtime.engine import open_engine

    found: dict[str, Any] = {}
    for threads in THREADS:
        engine = open_engine(bundle, threads=threads)
        found[f"codes{threads}"] = [int(engine.hash(picture)[0]) for picture in made]
        found["engine"] = engine.name
    return found


def fitted(made: Image) -> list[str]:
    """Digests of the pictures, brought to another size."""
    return [hashlib.sha256(preprocess(picture, 61).tobytes()).hexdigest() for picture in made]


def lookups() -> dict[str, str]:
    """For every width a digest of every kind of search, with ties."""
    generator = np.random.default_rng(2)
    return {str(bits): _lookup(bits, generator) for bits in (13, 16, 32, 48, 64, 128, 256)}


def _lookup(bits: int, generator: np.random.Generator) -> str:
    words = -(-bits // 64)
    codes = generator.integers(0, 2**64, (3005, words), dtype=np.uint64)
    codes[:, -1] >>= np.uint64(64 * words - bits)
    codes[1000:2000] = codes[:1000]  # ties
    codes, queries = codes[:-5], codes[-5:]
    half = rows_where(generator.random(3000) < 0.5)
    digest = hashlib.sha256()
    lookup = Lookup(codes, bits)
    planner = Planner(bits, lookup.kernel)

    def indexed(query: Any, k: int, there: Any) -> Any:
        return planner.nearest(lookup.rows, lookup._tight(query), k, there)

    if lookup.kernel == "numpy":  # no compiler here: there is no index either
        indexed = lookup.nearest
    else:
        planner.build(lookup.rows)

    def take(answer: Any) -> None:
        for part in answer:
            digest.update(np.ascontiguousarray(part, "<i8").tobytes())

    for query in queries:
        for there in (ALL, half):
            for k in (1, 10, 3000):
                take(lookup.nearest(query, k, there))
                take(indexed(query, k, there))
            take(lookup.within(query, bits // 3, there))
    take(lookup.nearest_batch(queries, 10))
    take([lookup.ranking(queries)])
    return digest.hexdigest()


def main() -> None:
    """All of it."""
    from edge_runtime.lookup import kernels

    pictures, bundle, small, integers = sys.argv[1:]
    made = np.load(pictures)
    answers = {
        "fp32": codes(bundle, made),
        "int8": codes(integers, np.load(small)),
        "fit": fitted(made),
        "lookup": lookups(),
        "kernels": list(kernels()),
    }
    sys.stdout.write(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main()
