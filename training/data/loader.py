"""Prefetch batches of augmented photos in threads; (seed, epoch, photo) fixes every pixel."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.augment import Strength, augment
from training.data.pixel_cache import PixelCache

_WORKERS, _AHEAD = 2, 4  # batches in flight bound the memory


class Loader:
    """Shuffled, augmented batches of a set: uint8 images to float [B, 3, S, S], int64 [B]."""

    def __init__(
        self,
        cache: PixelCache,
        targets: NDArray[np.int64],
        strengths: list[Strength],
        batch: int,
        seed: int,
    ):
        """`strengths[i]` is the augmentation of photo i (for example, places are not mirrored)."""
        self.cache, self.targets, self.strengths = cache, targets, strengths
        self.batch, self.seed = batch, seed

    def __len__(self) -> int:
        return max(1, len(self.cache) // self.batch)

    def epoch(self, epoch: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of one epoch at `size` pixels; drop the last, incomplete batch."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.cache))
        batches = [order[i * self.batch : (i + 1) * self.batch] for i in range(len(self))]
        with ThreadPoolExecutor(_WORKERS) as pool:
            pending: list[Future[tuple[Tensor, Tensor]]] = []
            for rows in batches:
                pending.append(pool.submit(self.batch_of, rows, epoch, size))
                if len(pending) > _AHEAD:
                    yield pending.pop(0).result()
            for future in pending:
                yield future.result()

    def batch_of(self, rows: NDArray[np.intp], epoch: int, size: int) -> tuple[Tensor, Tensor]:
        """Return the photos `rows` as they are augmented in `epoch`, with their targets."""
        images = np.empty((len(rows), size, size, 3), np.uint8)
        for place, row in enumerate(rows):
            rng = np.random.default_rng((self.seed, epoch, int(row)))
            images[place] = augment(self.cache[int(row)], size, rng, self.strengths[int(row)])
        pixels = torch.from_numpy(images[..., ::-1].copy()).permute(0, 3, 1, 2)
        return pixels.float().mul_(1 / 127.5).sub_(1.0), torch.from_numpy(self.targets[rows])
