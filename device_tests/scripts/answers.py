"""Print what the runtime computes on this machine, for comparison with another machine.

python answers.py PICTURES.npy BUNDLE SMALL_PICTURES.npy INT8_BUNDLE
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from edge_runtime.image import Image
from edge_runtime.image.preprocess import preprocess
from edge_runtime.lookup import ALL, Lookup, rows_where
from edge_runtime.lookup.planner import Planner

THREADS = (1, 4)


def codes(bundle: str, pictures: Image) -> dict[str, Any]:
    """Return the engine that a bundle gets, and its codes with one thread and with several."""
    from edge_runtime.engine import open_engine

    answer: dict[str, Any] = {}
    for threads in THREADS:
        engine = open_engine(bundle, threads=threads)
        answer[f"codes{threads}"] = [int(engine.hash(picture)[0]) for picture in pictures]
        answer["engine"] = engine.name
    return answer


def preprocessed(pictures: Image) -> list[str]:
    """Return the digests of the pictures after preprocessing to 61 x 61 pixels."""
    return [hashlib.sha256(preprocess(picture, 61).tobytes()).hexdigest() for picture in pictures]


def lookups() -> dict[str, str]:
    """Return, for every code length, a digest of the results of every kind of search, with ties."""
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

    def indexed(query: Any, k: int, row_filter: Any) -> Any:
        return planner.nearest(lookup.rows, lookup._to_bytes(query), k, row_filter)

    search: Callable[[Any, int, Any], Any] = indexed
    if lookup.kernel == "numpy":  # without a C compiler there is no index
        search = lookup.nearest
    else:
        planner.build(lookup.rows)

    def update(answer: Any) -> None:
        for part in answer:
            digest.update(np.ascontiguousarray(part, "<i8").tobytes())

    for query in queries:
        for row_filter in (ALL, half):
            for k in (1, 10, 3000):
                update(lookup.nearest(query, k, row_filter))
                update(search(query, k, row_filter))
            update(lookup.within(query, bits // 3, row_filter))
    update(lookup.nearest_batch(queries, 10))
    update([lookup.ranking(queries)])
    return digest.hexdigest()


def main() -> None:
    """Compute all answers and print them."""
    from edge_runtime.lookup import kernels

    pictures, bundle, small, integers = sys.argv[1:]
    images = np.load(pictures)
    answers = {
        "fp32": codes(bundle, images),
        "int8": codes(integers, np.load(small)),
        "preprocess": preprocessed(images),
        "lookup": lookups(),
        "kernels": list(kernels()),
    }
    sys.stdout.write(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main()
