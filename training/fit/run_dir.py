"""Read the results of a training run: recipe, averaged network, method layers, outputs."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn

from training.fit.trainer import Answer
from training.methods import SUPERVISED
from training.methods.linear_map import LinearMap
from training.models.checkpoint import CheckpointError, load_checkpoint
from training.models.efficientnet_lite2 import Lite2, load_lite2
from training.models.imagenet_weights import load_imagenet
from training.models.mobilenet_v1 import Backbone


def _load_run(path: Path) -> dict[str, Any]:
    state = load_checkpoint(path, {})
    if state is None:
        raise CheckpointError("checkpoint not found", where=path, remedy="train first")
    lacking = [key for key in ("averaged", "epoch") if key not in state]
    lacking += [key for key in ("recipe", "classes", "width") if key not in state["identity"]]
    if lacking:
        raise CheckpointError(
            f"not a checkpoint of a training run: {lacking[0]} is missing",
            where=path,
            remedy="give a checkpoint written by python -m training train",
        )
    return state


def describe_run(path: Path) -> dict[str, Any]:
    """Return recipe, number of labels and completed epochs of a run; raises CheckpointError."""
    state = _load_run(path)
    recipe: dict[str, Any] = ast.literal_eval(state["identity"]["recipe"])
    return {**recipe, "labels": len(state["identity"]["classes"]), "epochs_done": state["epoch"]}


def classes_of_run(path: Path) -> list[str]:
    """Return the labels that a run's checkpoint was trained on; raises CheckpointError."""
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
    """Load the averaged backbone of a run's checkpoint; raises CheckpointError."""
    state = _load_run(path)
    backbone = Backbone(state["identity"]["width"])
    try:
        backbone.load_state_dict(_averaged(state, "backbone"))
    except RuntimeError as error:  # its message names every layer
        raise CheckpointError(
            "the checkpoint has another architecture",
            where=path,
            remedy="give a checkpoint written by python -m training train",
        ) from error
    backbone.eval()
    return backbone


def load_head(path: Path, classes: list[str]) -> dict[str, Tensor]:
    """Load the averaged layers of the method; empty if the labels of the run are not `classes`.

    Raises CheckpointError.
    """
    state = _load_run(path)
    return _averaged(state, "head") if state["identity"]["classes"] == classes else {}


def load_hash_layer(path: Path) -> LinearMap:
    """Load the run's own hash layer, averaged, as it would be exported; raises CheckpointError."""
    state, recipe = _load_run(path), describe_run(path)
    layers = _averaged(state, "head")
    try:
        features = layers["hash.weight"].shape[1]
        head = SUPERVISED[recipe["method"]](features, recipe["bits"], recipe["labels"])
        head.load_state_dict(layers)
    except (KeyError, RuntimeError) as error:  # a teacher has none
        raise CheckpointError(
            "it has no hash layer", where=path, remedy="give a run of another --method"
        ) from error
    return head.linear()


def load_teachers(paths: Sequence[Path], classes: list[str]) -> Answer:
    """Load classifiers of labels `classes` and return the log of their mean probabilities.

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
    """Load a network that maps images to logits."""
    state = _load_run(path)
    if state["identity"]["classes"] != classes:
        raise CheckpointError(
            "the teacher was trained on other labels",
            where=path,
            remedy="train it on the same photos",
        )
    backbone, head = load_initial_network(None, path), _averaged(state, "head")
    classifier = nn.Linear(backbone.features, len(classes))
    try:
        classifier.load_state_dict(
            {part: head[f"classifier.{part}"] for part in ("weight", "bias")}
        )
    except (KeyError, RuntimeError) as error:  # none, or one of codes
        raise CheckpointError(
            "not a teacher: it has no classifier of features",
            where=path,
            remedy="give runs with --method teacher or joint",
        ) from error
    return nn.Sequential(backbone, classifier)


def load_initial_network(weights: Path | None, checkpoint: Path | None) -> Backbone | Lite2:
    """Like `load_start`, but also load a teacher from .pth weights or from its checkpoint."""
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
    """Load the initial backbone; raises click.UsageError unless exactly one source is given."""
    if weights is not None and checkpoint is None:
        return load_imagenet(weights)
    if checkpoint is not None and weights is None:
        return load_backbone(checkpoint)
    raise click.UsageError("give either ImageNet weights or a checkpoint")
