"""The network below a hash layer: a trained backbone, a blend, or a finished model."""

from __future__ import annotations

from pathlib import Path

import click
import onnx
import torch

from edge_runtime.engine.portable import PortableEngine
from edge_runtime.model import ModelInfo, identify
from training.data.input_tensor import Floats
from training.fit.run_dir import describe_run, load_backbone, load_start
from training.hash_layer.feature_model import FeatureModel, from_model, from_onnx
from training.hash_layer.features import Run
from training.methods.linear_map import LinearMap
from training.models.imagenet_weights import load_imagenet
from training.models.mobilenet_v1 import Backbone, HashNetwork
from training.onnx.blend import blend
from training.onnx.export import build
from training.onnx.model_file import session


def feature_runner(backbone: Backbone, size: int) -> Run:
    """Return a function that computes the features of float32 [1, 3, size, size]."""
    return session(build(backbone, size, None).SerializeToString())


def from_backbone(backbone: Backbone, size: int, provenance: object) -> FeatureModel:
    """Use a torch backbone at `size` pixels; torch is the reference for the exported model."""

    def add_head(head: LinearMap, info: ModelInfo) -> onnx.ModelProto:
        return build(backbone, size, head, info.to_metadata())

    def expected(head: LinearMap) -> Run:
        network = HashNetwork(len(head[1]), backbone.width)
        network.backbone.load_state_dict(backbone.state_dict())
        network.hash.weight.data, network.hash.bias.data = map(torch.from_numpy, head)
        network.eval()

        def run(image: Floats) -> Floats:
            with torch.inference_mode():
                activations: Floats = network(torch.from_numpy(image)).numpy()
            return activations

        return run

    return FeatureModel(feature_runner(backbone, size), size, provenance, add_head, expected)


def from_blend(path: Path, weights: Path, share: float) -> FeatureModel:
    """Use `share` of the weights of the finished model `path` and the rest of ImageNet's.

    `weights` is the .npz file of the ImageNet weights. Raises ModelError as `from_model` does, and
    when the two networks differ in their architecture.
    """
    info = PortableEngine(path).model
    imagenet = build(load_imagenet(weights), info.input.size, None)
    provenance = {
        "share": share,
        "model": {"name": info.name, "version": info.version, "id": info.id},
        "imagenet_sha256": identify(weights)[0],
    }
    return from_onnx(blend(onnx.load(path), imagenet, share), info, provenance)


def run_blend(checkpoint: Path, weights: Path, share: float, size: int) -> Run:
    """Return a function that computes features with a run's backbone and ImageNet weights averaged.

    `share` is that of the run. Like `from_blend`, it averages folded convolutions, as in a finished
    model.
    """
    trained, imagenet = load_backbone(checkpoint), load_imagenet(weights)
    mixed = blend(build(trained, size, None), build(imagenet, size, None), share)
    return session(mixed.SerializeToString())


def load_feature_model(
    weights: Path | None, checkpoint: Path | None, model: Path | None, size: int
) -> FeatureModel:
    """Load the network below a hash layer.

    Raises click.UsageError unless exactly one of `weights`, `checkpoint` and `model` is given.
    """
    if [weights, checkpoint, model].count(None) != 2:
        raise click.UsageError("give one of --weights, --checkpoint and --model")
    if model is not None:
        return from_model(model)
    provenance = describe_run(checkpoint) if checkpoint else "frozen"
    return from_backbone(load_start(weights, checkpoint), size, provenance)
