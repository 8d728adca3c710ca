"""Train the backbone end to end with a hashing method; a run can be resumed at any time.

    python -m training train --data DIR... --weights FILE --out build/train/NAME

Each epoch writes OUT/checkpoint.pt and adds a row to OUT/log.csv. The result is the averaged
weights. To resume a killed run, repeat its command; it ends with the same result.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.cli import log
from training.data.augment import GENTLE, MEDIUM, STRONG
from training.data.loader import Loader
from training.data.pixel_cache import PixelCache
from training.files import write_bytes
from training.fit.recipe import Recipe
from training.fit.stored_maps import StoredMaps, open_maps
from training.methods import SUPERVISED
from training.methods.base import Head
from training.models.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from training.models.efficientnet_lite2 import Lite2
from training.models.staged import Staged

AUGMENTATIONS = {"strong": STRONG, "medium": MEDIUM, "gentle": GENTLE}
Answer = Callable[[Tensor], Tensor]  # images float [N, 3, S, S] -> logits float [N, classes]


Net = TypeVar("Net", bound=Staged | Lite2)


class TrainingModel(nn.Module, Generic[Net]):
    """Backbone and method together: images and targets -> loss."""

    only_head = False
    """Whether the features are fixed, so that a step trains the head alone."""

    def __init__(self, backbone: Net, head: Head, dropout: float):
        super().__init__()
        self.backbone: Net = backbone
        self.head, self.dropout = head, dropout

    def forward(
        self,
        images: Tensor,
        *targets: tuple[Tensor, float],
        answers: Tensor | None = None,
        anchor: tuple[Tensor, float] | None = None,
    ) -> Tensor:
        """Loss of a batch; `targets` are (int64 [N], weight) pairs whose weights sum to 1.

        `answers` are a teacher's logits for the same images, float [N, classes]. `anchor` are
        features of the same images, float [N, F], and the weight of the distance from them.
        """
        learning = torch.is_grad_enabled() and not self.only_head
        with torch.set_grad_enabled(learning), torch.autocast(images.device.type, torch.bfloat16):
            features = self.backbone(images)
        features = features.float()
        losses = [] if anchor is None else [anchor[1] * distance(features, anchor[0])]
        features = nn.functional.dropout(features, self.dropout, self.training)
        losses += [weight * self.head(features, target) for target, weight in targets]
        if answers is not None:
            losses.append(self.head.learn(features, answers))
        return torch.stack(losses).sum()


def distance(features: Tensor, others: Tensor) -> Tensor:
    """Return the mean squared distance of the rows of two float [N, F], at length 1.

    That is 2 - 2 cosines: 0 for equal directions, as the runtime compares features.
    """
    return 2 - 2 * nn.functional.cosine_similarity(features, others).mean()


def mix(
    images: Tensor, targets: Tensor, rng: np.random.Generator
) -> tuple[Tensor, list[tuple[Tensor, float]]]:
    """Mix a batch with its shuffled copy by mixup (Zhang 2018) or CutMix (Yun 2019), at random."""
    other = torch.from_numpy(rng.permutation(len(images)))
    share = float(rng.beta(1.0, 1.0))
    if rng.random() < 0.5:
        mixed = images * share + images[other] * (1 - share)
    else:
        side = images.shape[-1]
        cut = round(side * math.sqrt(1 - share))
        top, left = (int(v) for v in rng.integers(0, side - cut + 1, 2))
        mixed = images.clone()
        area = (..., slice(top, top + cut), slice(left, left + cut))
        mixed[area] = images[other][area]
        share = 1 - cut * cut / side**2
    return mixed, [(targets, share), (targets[other], 1 - share)]


def _optimizer(model: TrainingModel[Net], recipe: Recipe) -> torch.optim.Optimizer:
    """Create the optimizer.

    Its first two groups hold the backbone if the features have their own rate, else all parameters.
    """
    own_rate = model.head.slows or recipe.features_rate != 1
    parts = (model.backbone, model.head) if own_rate else (model,)
    groups = [group for part in parts for group in _groups(part, recipe.decay)]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, recipe.rate)
    return torch.optim.SGD(groups, recipe.rate, momentum=0.9, nesterov=True)


def _groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Decay only weights of matrices; on batch norms and depthwise kernels it costs accuracy."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in filter(lambda each: each.requires_grad, model.parameters()):
        matrix = parameter.ndim >= 2 and parameter.shape[1] > 1
        (decayed if matrix else free).append(parameter)
    return [{"params": decayed, "weight_decay": decay}, {"params": free, "weight_decay": 0.0}]


def train(
    cache: PixelCache,
    labels: NDArray[np.int64],
    classes: list[str],
    backbone: Net,
    recipe: Recipe,
    out: Path,
    log: Callable[[str], None] = log,
    head: dict[str, Tensor] | None = None,
    teacher: Answer | None = None,
    inputs: Mapping[str, str] | None = None,
    method: Head | None = None,
) -> TrainingModel[Net]:
    """Train on `cache` with class indices `labels` int64 [N]; return the averaged network.

    `head` holds initial weights of the method's layers by name; arrays that do not fit are ignored.
    `teacher` returns logits for every augmented batch, for methods with `learn`. `inputs` identify
    the inputs of the run (checkpoint.digests), so that runs of one recipe on different inputs do
    not resume from each other's checkpoint. `method` is trained instead of a new one of the
    recipe's method and length.
    """
    torch.manual_seed(recipe.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone.freeze(recipe.frozen)
    strength = AUGMENTATIONS[recipe.augmentation]
    strengths = [
        replace(strength, flip_p=0.5 if photo.source in recipe.flip_sources else 0.0)
        for photo in cache.photos
    ]
    loader: Loader | StoredMaps = Loader(cache, labels, strengths, recipe.batch, recipe.seed)
    if isinstance(backbone, Staged):
        backbone.kept_norms = recipe.kept_norms
        if recipe.stored_views and isinstance(loader, Loader):
            log(f"storing the maps of {recipe.stored_views} views of each photo")
            loader = open_maps(
                backbone, loader, recipe.stored_views, recipe.size_of(0), repr(inputs)
            )
            backbone.from_maps = True
    anchor = copy.deepcopy(backbone).eval().requires_grad_(False) if recipe.preserve else None
    if method is None:
        method = SUPERVISED[recipe.method](backbone.features, recipe.bits, len(classes))
    drawn = method.state_dict()
    fitting = {
        key: value
        for key, value in (head or {}).items()
        if key in drawn and value.shape == drawn[key].shape
    }
    method.load_state_dict({**drawn, **fitting})
    model = TrainingModel(backbone, method, recipe.dropout).to(device)
    model = model.to(memory_format=torch.channels_last)
    if anchor is not None:
        anchor = anchor.to(device, memory_format=torch.channels_last)
    ema = torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.average)
    averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=ema, use_buffers=True)
    optimizer = _optimizer(model, recipe)
    total, step, first = recipe.epochs * len(loader), 0, 0
    identity = {"recipe": repr(asdict(recipe)), "classes": classes, "width": backbone.width}
    identity |= inputs or {}
    state = load_checkpoint(out / "checkpoint.pt", identity)
    if state is not None:
        _go_on(state, out / "checkpoint.pt", model, averaged, optimizer)
        first, step = state["epoch"], state["step"]
        log(f"resuming after epoch {first}")
    else:
        (out / "log.csv").unlink(missing_ok=True)  # left by a run whose checkpoint was deleted
    started = time.monotonic()
    for epoch in range(first, recipe.epochs):
        torch.manual_seed(recipe.seed * 1000 + epoch)  # dropout; the same after a resume
        rng = np.random.default_rng((recipe.seed, epoch, 1))
        model.train()
        model.only_head = epoch < recipe.head_first
        if model.only_head:
            model.backbone.eval()
        seen, size, epoch_start = 0.0, recipe.size_of(epoch), time.monotonic()
        for images, targets in loader.epoch(epoch, size):
            rate = _rate(recipe, step / total)
            pace = method.begin(step / total) * recipe.features_rate
            for number, group in enumerate(optimizer.param_groups):
                group["lr"] = rate * pace if number < 2 else rate
            pairs: list[tuple[Tensor, float]] = [(targets, 1.0)]
            if rng.random() < recipe.mixed:
                images, pairs = mix(images, targets, rng)
            images = images.to(device, memory_format=torch.channels_last)
            answers = teacher(images) if teacher is not None else None
            moved = [(target.to(device), share) for target, share in pairs]
            first_features = _anchored(anchor, images, recipe.preserve)
            loss = model(images, *moved, answers=answers, anchor=first_features)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if step * 50 >= total:  # the first 2 % would make the average worse
                averaged.update_parameters(model)
            step += 1
            seen += float(loss.detach())
        save_checkpoint(
            out / "checkpoint.pt",
            {
                "identity": identity,
                "model": model.state_dict(),
                "averaged": averaged.state_dict(),
                "optimizer": optimizer.state_dict(),
                "epoch": epoch + 1,
                "step": step,
            },
        )
        took = time.monotonic() - epoch_start
        left = (time.monotonic() - started) / (epoch + 1 - first) * (recipe.epochs - epoch - 1)
        _log(out / "log.csv", epoch + 1, size, seen / len(loader), rate, took)
        log(
            f"epoch {epoch + 1}/{recipe.epochs} at {size} px: loss {seen / len(loader):.4f}, "
            f"{took:.0f} s, {left / 60:.0f} min left"
        )
    result = averaged.module.cpu().eval()
    assert isinstance(result, TrainingModel)
    if isinstance(result.backbone, Staged):
        result.backbone.from_maps = False
    return result


def _anchored(
    anchor: nn.Module | None, images: Tensor, weight: float
) -> tuple[Tensor, float] | None:
    """Return the features of the first weights, float [N, F], and their weight in the loss."""
    if anchor is None:
        return None
    with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16):
        return anchor(images).float(), weight


def _go_on(state: dict[str, Any], path: Path, *parts: nn.Module | torch.optim.Optimizer) -> None:
    """Restore network, average and optimizer from `state`, read from `path`."""
    try:
        for part, name in zip(parts, ("model", "averaged", "optimizer"), strict=True):
            part.load_state_dict(state[name])
    except (KeyError, RuntimeError, ValueError) as error:  # their messages name every layer
        raise CheckpointError(
            "cannot resume from it: written by another version, or an average of checkpoints",
            where=path,
            remedy="delete it to start over, or choose another --out",
        ) from error


def _rate(recipe: Recipe, done: float) -> float:
    """Return the learning rate: linear warm-up, then cosine to 0; `done` is the share of steps."""
    if done < recipe.warmup:
        return recipe.rate * (done / recipe.warmup + 1e-3)
    return (
        recipe.rate * 0.5 * (1 + math.cos(math.pi * (done - recipe.warmup) / (1 - recipe.warmup)))
    )


def _log(path: Path, epoch: int, size: int, loss: float, rate: float, seconds: float) -> None:
    before = path.read_text() if path.exists() else "epoch,size,loss,rate,seconds\n"
    row = f"{epoch},{size},{loss:.5f},{rate:.6f},{seconds:.1f}\n"
    write_bytes(path, (before + row).encode())
