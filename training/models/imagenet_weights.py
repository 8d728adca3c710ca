"""Load the ImageNet weights of MobileNet-v1 1.0 (TF-slim, Apache-2.0) from an .npz file."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from edge_runtime.errors import ModelError
from training.models.mobilenet_v1 import BLOCKS, Backbone

_BN = (
    ("weight", "gamma"),
    ("bias", "beta"),
    ("running_mean", "moving_mean"),
    ("running_var", "moving_variance"),
)
_REMEDY = "give the .npz of TF-slim MobileNet-v1 1.0 with --weights"


class WeightsError(ModelError):
    """The file does not contain the expected ImageNet weights."""


def load_imagenet(path: Path) -> Backbone:
    """Load a backbone of width 1.0 from the arrays in `path`.

    Kernels are HWIO (depthwise: HWC1); batch norms are separate arrays.

    Raises WeightsError when the file is missing, unreadable or lacks an array.
    """
    arrays = _read(path)
    backbone = Backbone()
    names = ["Conv2d_0"]
    for index in range(1, len(BLOCKS) + 1):
        names += [f"Conv2d_{index}_depthwise", f"Conv2d_{index}_pointwise"]
    try:
        for name, unit in zip(names, backbone.units, strict=True):
            depthwise = name.endswith("depthwise")
            kernel = arrays[f"{name}/{'depthwise_weights' if depthwise else 'weights'}"]
            order = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
            kernel = np.ascontiguousarray(kernel.transpose(order), dtype=np.float32)
            state = {"0.weight": torch.from_numpy(kernel)}
            for ours, theirs in _BN:
                array = arrays[f"{name}/BatchNorm/{theirs}"].astype(np.float32)
                state[f"1.{ours}"] = torch.from_numpy(array)
            unit.load_state_dict(state, strict=False)
    except (KeyError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())  # torch writes several lines
        raise WeightsError(f"not MobileNet-v1 1.0: {why}", where=path, remedy=_REMEDY) from error
    backbone.eval()
    return backbone


def load_logits(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Load the classifier above the pooled features: weight [1001, 1024] and bias [1001].

    Raises WeightsError when the file is missing, unreadable or lacks an array.
    """
    arrays = _read(path)
    try:
        weight, bias = (arrays[f"Logits/Conv2d_1c_1x1/{name}"] for name in ("weights", "biases"))
        weight = np.ascontiguousarray(weight.reshape(weight.shape[-2:]).T, np.float32)
    except (KeyError, ValueError) as error:
        raise WeightsError(f"no classifier: {error}", where=path, remedy=_REMEDY) from error
    return weight, bias.astype(np.float32)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:  # numpy leaves a damaged archive open
            return dict(np.load(file))
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise WeightsError(f"cannot be read: {error}", where=path, remedy=_REMEDY) from error
