"""Train one method on one network and judge its codes: a cell of the table, at all lengths."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.data.input_tensor import Floats
from training.data.photo_sets import Photo, label_indices
from training.data.pixel_cache import PixelCache, open_cache
from training.data.splits import OFFICIAL, default_split, split_digest
from training.determinism import set_determinism
from training.eval.retrieval import CodeSet, mean_ap
from training.experiments.methods import Part, float_map
from training.fit.recipe import Recipe
from training.fit.trainer import train
from training.hash_layer.codes import to_codes
from training.methods import SUPERVISED
from training.models.checkpoint import digests
from training.models.staged import Staged
from training.papers.inputs import clean_batch
from training.papers.lengths import Lengths

RECIPE = Recipe(
    stages=((112, 12),), batch=32, optimizer="adamw", rate=4e-3, features_rate=0.25, decay=0.05,
    average=0.98, dropout=0.1, augmentation="gentle", stored_views=3,
)  # fmt: skip
_BATCH = 64


@dataclass(frozen=True)
class Network:
    """A backbone with its first weights, of which the first `frozen` units are not trained."""

    name: str
    file: Path
    load: Callable[[Path], Staged]
    frozen: int


class Bench:
    """The photos of one set: its database is trained on and searched, its queries are asked."""

    def __init__(self, photos: Sequence[Photo], side: int, threads: int = 1, mirror: bool = True):
        """`side` is the input side in pixels, `mirror` whether photos may be mirrored."""
        database, queries, self.split = default_split(photos)
        self.database, self.queries = open_cache(database), open_cache(queries)
        self.source = self.database.photos[0].source
        self.side, self.threads, self.mirror = side, threads, mirror
        self.index = label_indices(self.database.photos)
        self._clean: dict[str, list[NDArray[np.float16]]] = {}

    @property
    def split_sha256(self) -> str:
        """Digest of the photos on both sides."""
        parts = {"database": self.database.photos, "queries": self.queries.photos}
        return split_digest(OFFICIAL, parts)

    def recipe(self, network: Network, method: str, seed: int, base: Recipe) -> Recipe:
        """Return the recipe of one training, `base` for this network, method and seed."""
        return replace(
            base, method=method, seed=seed, frozen=network.frozen,
            stages=tuple((self.side, epochs) for _, epochs in base.stages),
            flip_sources=(self.source,) if self.mirror else (),
        )  # fmt: skip

    def key(self, network: Network, recipe: Recipe, lengths: Sequence[int]) -> dict[str, Any]:
        """Return what identifies the result of a training."""
        inputs = digests(self.database.photos, network.file, ())
        return {
            "network": network.name, "set": self.source, "split": self.split_sha256,
            "lengths": list(lengths), "recipe": repr(asdict(recipe)), **inputs,
        }  # fmt: skip

    def run(
        self, network: Network, recipe: Recipe, lengths: Sequence[int], folder: Path
    ) -> dict[str, float]:
        """Train and judge; return MAP@100 in percent by code length, and of the float features.

        The training resumes in `folder` after a kill; the folder is removed at the end.
        """
        set_determinism(recipe.seed, self.threads)
        backbone = network.load(network.file)
        kind = SUPERVISED[recipe.method]
        method = Lengths(kind, backbone.features, lengths, len(self.index))
        labels = np.array([self.index[photo.label] for photo in self.database.photos], np.int64)
        inputs = digests(self.database.photos, network.file, ())
        trained = train(
            self.database, labels, list(self.index), backbone, recipe, folder,
            inputs=inputs, method=method,
        )  # fmt: skip
        head = trained.head
        assert isinstance(head, Lengths)
        sides = self._features(network, trained.backbone)
        found = {"float": round(float_map(*sides), 2)}
        for bits, layer in head.maps().items():
            coded = [CodeSet(side.photos, to_codes(side.features, layer)) for side in sides]
            found[str(bits)] = round(mean_ap(*coded), 2)
        shutil.rmtree(folder)
        return found

    def _features(self, network: Network, backbone: Staged) -> list[Part]:
        """Return the fp32 features of both sides; the maps of frozen units are computed once."""
        caches = (self.database, self.queries)
        if network.name not in self._clean:
            self._clean[network.name] = [_early(backbone, each, self.side) for each in caches]
        maps = self._clean[network.name]
        return [Part(c.photos, _late(backbone, each)) for c, each in zip(caches, maps, strict=True)]


def _early(backbone: Staged, cache: PixelCache, side: int) -> NDArray[np.float16]:
    found = []
    for start in range(0, len(cache), _BATCH):
        images = clean_batch(cache, range(start, min(start + _BATCH, len(cache))), side)
        with torch.no_grad():
            found.append(backbone.maps(torch.from_numpy(images)).numpy().astype(np.float16))
    return np.concatenate(found)


def _late(backbone: Staged, maps: NDArray[np.float16]) -> Floats:
    found = []
    for start in range(0, len(maps), _BATCH):
        early = torch.from_numpy(maps[start : start + _BATCH].astype(np.float32))
        with torch.no_grad():
            late: Floats = backbone.gather(backbone.units[backbone.frozen :](early)).numpy()
        found.append(late)
    return np.concatenate(found)
