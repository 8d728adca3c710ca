"""The networks that are judged: the hash network, AlexNet at full size, and a trained small one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from training.data.photo_sets import label_indices
from training.hash_layer.fit import HeadRecipe, fit_head
from training.models.alexnet import IMAGENET_CLASSES, AlexNet, load_network
from training.onnx.model_file import session
from training.papers.compressed.qcnn.alexnet import to_layers, with_random_words
from training.papers.compressed.qcnn.judging import Photos
from training.papers.compressed.qcnn.layers import Floats, Network
from training.papers.compressed.qcnn.onnx_copy import to_onnx
from training.papers.compressed.qcnn.onnx_reader import read_network
from training.papers.compressed.qcnn.study import Case
from training.papers.inputs import clean_batch

HASH_NETWORK, FULL, TRAINED = "mobilenet", "alexnet", "small-alexnet"
BITS = 64


def hash_network(model: Path, photos: Photos, count: int) -> Case:
    """Return the hash network in the ONNX file `model`; NAME_int8.onnx beside it is its int8."""
    network = read_network(model)
    int8 = model.with_name(f"{model.stem}_int8.onnx")
    return Case(
        HASH_NETWORK, network, _digest(network), _pictures(photos, count, network.size), photos,
        int8 if int8.exists() else None,
    )  # fmt: skip


def full_alexnet(seed: int = 0, network: AlexNet | None = None) -> Case:
    """Return AlexNet with 1000 outputs and random weights: for its size and time."""
    torch.manual_seed(seed)
    whole = (network or AlexNet()).eval()
    rng = np.random.default_rng(seed)
    weight = (rng.standard_normal((IMAGENET_CLASSES, whole.hidden)) / 64).astype(np.float32)
    layers = to_layers(whole, (weight, np.zeros(IMAGENET_CLASSES, np.float32)))
    pictures = rng.uniform(-1, 1, (8, 3, layers.size, layers.size)).astype(np.float32)
    return Case(
        FULL, layers, f"random, seed {seed}, side {layers.size}", pictures,
        make=lambda setting, number: with_random_words(layers, setting, number),
    )  # fmt: skip


def trained_alexnet(path: Path, photos: Photos, count: int) -> Case:
    """Return a trained AlexNet-shaped network with a layer of 64 bits, fitted to the database.

    The layer has the method of the hash network's paper and is fitted to clean photos.
    """
    network = load_network(path)
    headless = to_layers(network)
    run = session(to_onnx(headless).SerializeToString())
    cache = photos.database
    features = np.concatenate(
        [run(clean_batch(cache, [i], network.side)) for i in range(len(cache))]
    )
    index = label_indices(cache.photos)
    labels = np.array([index[photo.label] for photo in cache.photos], np.int64)
    head = fit_head([features], labels, len(index), HeadRecipe(bits=BITS))
    layers = to_layers(network, head)
    pictures = _pictures(photos, count, layers.size)
    return Case(TRAINED, layers, _digest(layers), pictures, photos)


def _pictures(photos: Photos, count: int, side: int) -> Floats:
    total = len(photos.database)
    rows = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))
    return clean_batch(photos.database, rows, side)


def _digest(network: Network) -> str:
    whole = hashlib.sha256()
    for layer in network.layers:
        whole.update(layer.weight.tobytes() + layer.bias.tobytes())
    return whole.hexdigest()[:16]
