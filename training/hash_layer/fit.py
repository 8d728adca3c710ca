"""Fit a hash layer to fixed features: seconds instead of hours, for any method and length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.fitting.prior import FeaturePrior
from training.hash_layer.refit import fit_refit
from training.methods import CLOSED_FORM, SUPERVISED
from training.methods.linear_map import Floats, LinearMap

REFIT = "refit"
"""Name of the closed form that the runtime fits to a gallery."""


@dataclass(frozen=True)
class HeadRecipe:
    """Settings for fitting a hash layer to features."""

    method: str = "paper"
    bits: int = 64
    epochs: int = 60
    batch: int = 256
    rate: float = 2e-3
    decay: float = 1e-3
    dropout: float = 0.2
    seed: int = 1
    prior: FeaturePrior | None = None
    """What is known about the features beforehand; only the method "refit" uses it."""


def fit_head(
    features: list[Floats], labels: NDArray[np.int64], classes: int, recipe: HeadRecipe
) -> LinearMap:
    """Fit a hash layer (weight [K, F], bias [K]) by `recipe.method`.

    `features` are passes over the same N photos, float32 [N, F] each: clean features first, then
    those of augmented views. `labels` are int64 [N]. Methods in closed form use the first pass
    only. Other methods raise ExtraMissingError if torch is not installed.
    """
    if recipe.method == REFIT:
        return fit_refit(features[0], labels, recipe.bits, recipe.prior)
    if recipe.method in CLOSED_FORM:
        return CLOSED_FORM[recipe.method](features[0], labels, recipe.bits, recipe.seed)
    return _fit_by_gradient(features, labels, classes, recipe)


def _fit_by_gradient(
    features: list[Floats], labels: NDArray[np.int64], classes: int, recipe: HeadRecipe
) -> LinearMap:
    """Train a layer; raises ExtraMissingError if torch is not installed."""
    method = SUPERVISED[recipe.method]
    import torch  # only here: methods in closed form do not need it

    torch.manual_seed(recipe.seed)
    inputs = torch.from_numpy(np.concatenate(features))
    targets = torch.from_numpy(np.tile(labels, len(features)))
    # Features are standardized for the fit. The scaling is folded into the layer afterwards.
    mean, std = inputs.mean(0), inputs.std(0).clamp_min(1e-4)
    inputs = (inputs - mean) / std
    head = method(inputs.shape[1], recipe.bits, classes)
    # A larger batch means fewer steps, so epochs and learning rate grow with the square root of its
    # size. An epoch keeps at least four steps.
    larger = min(head.batches, max(1, len(inputs) // (4 * recipe.batch)))
    batch, rate = recipe.batch * larger, recipe.rate * larger**0.5
    epochs = round(recipe.epochs * larger**0.5)
    optimizer = torch.optim.AdamW(head.parameters(), rate, weight_decay=recipe.decay)
    steps = epochs * -(-len(inputs) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(recipe.seed)
    head.train()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # synchronization costs more than a second core gains on such products
    step = 0
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(inputs), generator=generator), batch):
            if not head.slows:
                head.begin(step / steps)
            step += 1
            dropped = torch.nn.functional.dropout(inputs[rows], recipe.dropout)
            loss = head(dropped, targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    torch.set_num_threads(threads)
    head.eval()
    weight, bias = head.linear()
    weight = weight / std.numpy()
    return weight.astype(np.float32), (bias - weight @ mean.numpy()).astype(np.float32)
