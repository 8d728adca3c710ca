"""Store what the frozen units make of a few augmented views of each photo.

Training of the late units then costs a fraction: the early ones, whose maps are large, run once per
view instead of once per epoch. The views repeat, so there is less augmentation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.loader import Loader
from training.files import write_whole
from training.models.staged import Staged

FOLDER = Path("build/cache")
_BATCH = 64


class StoredMaps:
    """Shuffled batches of stored maps: float [B, C, H, W], int64 [B]. It replaces a `Loader`."""

    def __init__(
        self,
        maps: NDArray[np.uint8],
        targets: NDArray[np.int64],
        batch: int,
        seed: int,
        limit: float,
    ) -> None:
        """`maps` are [V, N, C, H, W], the maps of V views of N photos as shares of `limit`."""
        self.maps, self.targets, self.batch, self.seed = maps, targets, batch, seed
        self.limit = limit

    def __len__(self) -> int:
        return max(1, len(self.targets) // self.batch)

    def epoch(self, epoch: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of one epoch, a random view of each photo; `size` is that stored."""
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(len(self.targets))
        views = rng.integers(0, len(self.maps), len(order))
        for start in range(0, len(self) * self.batch, self.batch):
            rows = order[start : start + self.batch]
            maps = torch.from_numpy(self.maps[views[start : start + self.batch], rows])
            yield maps.float().mul_(self.limit / 255), torch.from_numpy(self.targets[rows])


def open_maps(
    backbone: Staged, loader: Loader, views: int, size: int, inputs: str, folder: Path = FOLDER
) -> StoredMaps:
    """Return the maps of `views` views of each photo of `loader` at `size` pixels.

    They are read from a file in `folder` if it exists, else computed and stored there. Its name
    depends on `inputs`, a text that identifies photos and weights, and on everything else here.
    """
    parts = (inputs, loader.strengths, loader.seed, views, size, backbone.frozen)
    path = folder / f"maps-{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: _write(file, backbone, loader, views, size))
    maps: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return StoredMaps(maps, loader.targets, loader.batch, loader.seed, backbone.limit)


def _write(file: BinaryIO, backbone: Staged, loader: Loader, views: int, size: int) -> None:
    count, started = len(loader.targets), False
    rows = np.arange(count)
    for view in range(views):
        for start in range(0, count, _BATCH):
            images, _ = loader.batch_of(rows[start : start + _BATCH], view, size)
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                found = backbone.maps(images.to(memory_format=torch.channels_last))
            maps = (
                (found.float() * (255 / backbone.limit))
                .round()
                .clamp(0, 255)
                .to(torch.uint8)
                .contiguous()
            )
            if not started:
                shape = (views, count, *maps.shape[1:])
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                started = True
            file.write(maps.numpy().tobytes())
