"""Pretrain a small AlexNet-shaped network: it learns to describe photos as MobileNet-v1 does.

The networks of DLBH and SSDH began with AlexNet's ImageNet weights. None with a license are at
hand, so a smaller one is trained by distillation (Hinton et al. 2015; Romero et al., "FitNets",
2015): the teacher is MobileNet-v1 with its ImageNet weights. No label is used. Teacher and student
see the same augmented photo. The student has seen some ten thousand photos instead of 1.3 million,
so it is weaker than the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data.photo_sets import Photo
from training.data.pixel_cache import PixelCache
from training.fit.recipe import Recipe
from training.fit.trainer import Answer, train
from training.methods.base import Head
from training.models.alexnet import AlexNet
from training.models.checkpoint import digests
from training.models.imagenet_weights import load_imagenet, load_logits
from training.papers.inputs import clean_batch

SIDE, HIDDEN = 112, 1024
"""Input side in pixels and units of the fully connected layers of the network trained here."""
TEMPERATURE = 2.0
RECIPE = Recipe(
    method="imitation", bits=1024, stages=((SIDE, 6),), batch=64, optimizer="adamw", rate=2e-3,
    decay=0.05, mixed=0.3, average=0.99, dropout=0.0, frozen=0, augmentation="strong",
)  # fmt: skip
_SAMPLE = 512  # photos that the scale of the teacher's features is measured on


class Imitation(Head):
    """Predict the teacher's features and, through its own classifier, its logits."""

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, features: int, taught: Tensor, weight: Tensor, bias: Tensor):
        """`taught` float [S, F] gives the scale of features; `weight`, `bias` make logits of F."""
        super().__init__(features, taught.shape[1], 1)
        values = (taught.mean(0), taught.std(0).clamp_min(1e-3), weight, bias)
        for name, value in zip(("mean", "std", "weight", "bias"), values, strict=True):
            self.register_buffer(name, value)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return 0: labels teach nothing here."""
        return features.new_zeros(())

    def learn(self, features: Tensor, answers: Tensor) -> Tensor:
        """Return the distance from the teacher's features `answers`, float [N, F].

        It is the mean squared difference in standard deviations, plus the divergence of the logits.
        """
        found = self.hash(features)
        apart = functional.mse_loss(found, (answers - self.mean) / self.std)
        wanted, given = (
            functional.log_softmax(functional.linear(each, self.weight, self.bias) / TEMPERATURE, 1)
            for each in (answers, found * self.std + self.mean)
        )
        return apart + functional.kl_div(given, wanted, reduction="batchmean", log_target=True)


def pretrain(
    cache: PixelCache,
    weights: Path,
    out: Path,
    recipe: Recipe = RECIPE,
    width: float = 1.0,
    hidden: int = HIDDEN,
) -> AlexNet:
    """Train the network on the photos of `cache` in folder `out`; resumes after a kill.

    `weights` is the .npz file of the teacher. The input side is that of the recipe's first stage.
    """
    side = recipe.size_of(0)
    teacher = load_imagenet(weights).to(memory_format=torch.channels_last)
    answer = _features_of(teacher)
    rows = np.linspace(0, len(cache) - 1, min(_SAMPLE, len(cache))).round().astype(int)
    taught = answer(torch.from_numpy(clean_batch(cache, rows, side)))
    torch.manual_seed(recipe.seed)
    network = AlexNet(width, side, hidden)
    method = Imitation(hidden, taught, *(torch.from_numpy(each) for each in load_logits(weights)))
    labels = np.zeros(len(cache), np.int64)
    inputs = digests(cache.photos, weights, ())
    trained = train(
        cache, labels, ["photo"], network, recipe, out,
        teacher=answer, inputs=inputs, method=method,
    )  # fmt: skip
    return trained.backbone


def mirrored(recipe: Recipe, photos: Sequence[Photo], places: frozenset[str]) -> Recipe:
    """Return `recipe` with all sets of `photos` mirrored but `places`, where sides differ."""
    sources = {photo.source for photo in photos} - places
    return replace(recipe, flip_sources=tuple(sorted(sources)))


def _features_of(teacher: nn.Module) -> Answer:
    def answer(images: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16):
            features: Tensor = teacher(images)
        return features.float()

    return answer
