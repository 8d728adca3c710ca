"""Pooled fp32 features of a backbone, computed by ONNX Runtime as on a board.

Hash layers are fitted to these features. A layer that is fitted to bf16 features loses almost one
point of MAP when it runs in fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from edge_runtime.image.preprocess import preprocess
from training.cli import log
from training.data.augment import GENTLE, augment
from training.data.input_tensor import Floats, to_input
from training.data.pixel_cache import PhotoSource

Run = Callable[[Floats], Floats]
"""float32 [1, 3, S, S] -> float32 [1, F]."""
_WORKERS = 2


def run_all(run: Run, count: int, image: Callable[[int], NDArray[np.uint8]]) -> Floats:
    """Apply `run` to `image(i)`, uint8 S x S x 3 BGR, for every i; returns float32 [count, F]."""

    def one(index: int) -> Floats:
        row: Floats = run(to_input(image(index)))[0]
        return row

    with ThreadPoolExecutor(_WORKERS) as pool:
        rows: Iterator[Floats] = pool.map(one, range(count))
        return np.stack(list(rows))


def clean_features(run: Run, source: PhotoSource, size: int) -> Floats:
    """Compute the features float32 [N, F] of every photo after the runtime's `preprocess`."""
    return run_all(run, len(source), lambda index: preprocess(source[index], size))


def augmented_features(run: Run, source: PhotoSource, size: int, seed: int) -> Floats:
    """Compute the features float32 [N, F] of one gently augmented view of every photo."""

    def view(index: int) -> NDArray[np.uint8]:
        return augment(source[index], size, np.random.default_rng((seed, index)), GENTLE)

    return run_all(run, len(source), view)


def feature_passes(
    run: Run, source: PhotoSource, size: int, augmented: int, seed: int
) -> list[Floats]:
    """Compute the clean features, then `augmented` passes of augmented ones, for `fit_head`."""
    result = [clean_features(run, source, size)]
    for number in range(augmented):
        log(f"computing features of augmented views, pass {number + 1} of {augmented}")
        result.append(augmented_features(run, source, size, seed + number))
    return result
