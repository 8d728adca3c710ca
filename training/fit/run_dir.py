"""What a training run left: its recipe, its averaged network, its layers, its answers."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn

from training.fit.trainer import Answer
from training.models.checkpoint import CheckpointError, load_checkpoint
from training.models.efficientnet_lite2 import Lite2, load_lite2
from training.models.imagenet_weights import load_imagenet
from training.models.mobilenet_v1 import Backbone


def _load_run(path: Path) -> dict[str, Any]:
    state = load_checkpoint(path, {})
    if state is None:
        raise CheckpointError("no such checkpoint", where=path, remedy="train first")
    lacking = [key for key in ("averaged", "epoch") if key not in state]
    lacking += [key for key in ("recipe", "classes", "width") if key not in state["identity"]]
    if lacking:
        raise CheckpointError(
            f"it is no checkpoint of a training run: no {lacking[0]} in it",
            where=path,
            remedy="give one made by training.fit.train",
        )
    return state


def describe_run(path: Path) -> dict[str, Any]:
    """The recipe, labels and epochs done of a run's checkpoint; raises CheckpointError."""
    state = _load_run(path)
    recipe: dict[str, Any] = ast.literal_eval(state["identity"]["recipe"])
    return {**recipe, "labels": len(state["identity"]["classes"]), "epochs_done": state["epoch"]}


def classes_of_run(path: Path) -> list[str]:
    """The labels that a run's checkpoint was trained on; raises CheckpointError."""
    classes: list[str] = _load_run(path)["identity"]["classes"]
    return classes


def _averaged(state: dict[str, Any], part: str) -> dict[str, Tensor]:
    prefix = f"module.{part}."
    return {
        key.removeprefix(prefix): value
        for key, value in state["averaged"].items()
        if key.startswith(prefix)
    }


def load_backbone(path: Path) -> Backbone:
    """The averaged backbone of a run's checkpoint; raises CheckpointError."""
    state = _load_run(path)
    backbone = Backbone(state["identity"]["width"])
    try:
        backbone.load_state_dict(_averaged(state, "backbone"))
    except RuntimeError as error:  # its message names every layer
        raise CheckpointError(
            "it is of another architecture",
            where=path,
            remedy="give one made by training.fit.train",
        ) from error
    backbone.eval()
    return backbone


def load_head(path: Path, classes: list[str]) -> dict[str, Tensor]:
    """The averaged layers of the method of a checkpoint; none if its labels are not `classes`.

    Raises CheckpointError.
    """
    state = _load_run(path)
    return _averaged(state, "head") if state["identity"]["classes"] == classes else {}


def load_teachers(paths: Sequence[Path], classes: list[str]) -> Answer:
    """What the averaged networks of runs with a classifier answer together, for labels `classes`:
    the logarithm of their mean probabilities.

    Raises CheckpointError.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    networks = [_classifier(path, classes).eval().to(device) for path in paths]
    for network in networks:
        network.to(memory_format=torch.channels_last)

    def answer(images: Tensor) -> Tensor:
        with torch.no_grad():
            with torch.autocast(images.device.type, torch.bfloat16):
                logits = [network(images) for network in networks]
            return torch.stack([each.float().softmax(1) for each in logits]).mean(0).log()

    return answer


def _classifier(path: Path, classes: list[str]) -> nn.Module:
    """Images to logits."""
    state = _load_run(path)
    if state["identity"]["classes"] != classes:
        raise CheckpointError(
            "it was taught other labels", where=path, remedy="train it on the same photos"
        )
    backbone, head = load_initial_network(None, path), _averaged(state, "head")
    classifier = nn.Linear(backbone.features, len(classes))
    try:
        classifier.load_state_dict(
            {part: head[f"classifier.{part}"] for part in ("weight", "bias")}
        )
    except (KeyError, RuntimeError) as error:  # none, or one of codes
        raise CheckpointError(
            "it is no teacher: it has no classifier of features",
            where=path,
            remedy="give runs with --method teacher or joint",
        ) from error
    return nn.Sequential(backbone, classifier)


def load_initial_network(weights: Path | None, checkpoint: Path | None) -> Backbone | Lite2:
    """As `load_start`, or a teacher: of weights that end in .pth, or of its checkpoint."""
    if weights is not None and checkpoint is None and weights.suffix == ".pth":
        return load_lite2(weights)
    if checkpoint is not None and weights is None:
        state = _load_run(checkpoint)
        if state["identity"]["width"] == Lite2.width:
            backbone = Lite2()
            backbone.load_state_dict(_averaged(state, "backbone"))
            backbone.eval()
            return backbone
    return load_start(weights, checkpoint)


def load_start(weights: Path | None, checkpoint: Path | None) -> Backbone:
    """The backbone a command starts from; raises click.UsageError unless exactly one is given."""
    if weights is not None and checkpoint is None:
        return load_imagenet(weights)
    if checkpoint is not None and weights is None:
        return load_backbone(checkpoint)
    raise click.UsageError("give either ImageNet weights or a checkpoint")
