"""Pooled backbone features of photos in fp32, computed by ONNX Runtime as a board computes them.

Heads are fitted on these and not on bf16 features: a head fitted on bf16 features loses most of a
point of MAP when it runs in fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from edge_runtime.image.preprocess import normalize, preprocess
from edge_runtime.model import InputSpec
from training.cli import say
from training.data.augment import GENTLE, augment
from training.data.pixel_cache import Pictures
from training.models.mobilenet_v1 import Backbone
from training.onnx.export import build, session

Floats = NDArray[np.float32]
Run = Callable[[Floats], Floats]
_WORKERS = 2


def to_input(square: NDArray[np.uint8]) -> Floats:
    """uint8 S x S x 3 BGR -> float32 [1, 3, S, S] RGB, value = pixel / 127.5 - 1."""
    tensor = np.empty((1, 3, *square.shape[:2]), np.float32)
    normalize(square, InputSpec(size=square.shape[0]), tensor[0])
    return tensor


def run_all(run: Run, count: int, image: Callable[[int], NDArray[np.uint8]]) -> Floats:
    """float32 [count, N]: `run` on `image(i)`, uint8 S x S x 3 BGR, for every i."""

    def one(index: int) -> Floats:
        row: Floats = run(to_input(image(index)))[0]
        return row

    with ThreadPoolExecutor(_WORKERS) as pool:
        rows: Iterator[Floats] = pool.map(one, range(count))
        return np.stack(list(rows))


def runner(backbone: Backbone, size: int) -> Run:
    """A function float32 [1, 3, size, size] -> float32 [1, F] computing the features."""
    return session(build(backbone, size, None).SerializeToString())


def clean_features(run: Run, pictures: Pictures, size: int) -> Floats:
    """float32 [N, F]: features of every photo through the runtime's own `fit`."""
    return run_all(run, len(pictures), lambda index: preprocess(pictures[index], size))


def augmented_features(run: Run, pictures: Pictures, size: int, seed: int) -> Floats:
    """float32 [N, F]: features of one gently augmented view of every photo."""

    def view(index: int) -> NDArray[np.uint8]:
        return augment(pictures[index], size, np.random.default_rng((seed, index)), GENTLE)

    return run_all(run, len(pictures), view)


def feature_passes(
    run: Run, pictures: Pictures, size: int, augmented: int, seed: int
) -> list[Floats]:
    """The clean features, then `augmented` passes of augmented ones, for `heads.fit_head`."""
    result = [clean_features(run, pictures, size)]
    for turn in range(augmented):
        say(f"features of augmented views, pass {turn + 1} of {augmented}")
        result.append(augmented_features(run, pictures, size, seed + turn))
    return result
