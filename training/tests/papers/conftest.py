from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from training.models.mobilenet_v1 import BLOCKS, Backbone


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Random weights of MobileNet-v1 in the form of the ImageNet file."""
    torch.manual_seed(1)
    arrays = {}
    names = ["Conv2d_0"]
    for index in range(1, len(BLOCKS) + 1):
        names += [f"Conv2d_{index}_depthwise", f"Conv2d_{index}_pointwise"]
    for name, unit in zip(names, Backbone().units, strict=True):
        depthwise = name.endswith("depthwise")
        kernel = torch.nn.init.kaiming_normal_(unit[0].weight.data).numpy()
        kind, order = (
            ("depthwise_weights", (2, 3, 0, 1)) if depthwise else ("weights", (2, 3, 1, 0))
        )
        arrays[f"{name}/{kind}"] = kernel.transpose(order)
        for key, value in (("gamma", 1), ("beta", 0), ("moving_mean", 0), ("moving_variance", 1)):
            arrays[f"{name}/BatchNorm/{key}"] = np.full(len(kernel), value, np.float32)
    classifier = np.random.default_rng(1).normal(0, 0.01, (1, 1, 1024, 1001))
    arrays["Logits/Conv2d_1c_1x1/weights"] = classifier.astype(np.float32)
    arrays["Logits/Conv2d_1c_1x1/biases"] = np.zeros(1001, np.float32)
    path = tmp_path / "weights.npz"
    np.savez(path, **arrays)
    return path


def write_recordings(folder: Path, count: int) -> Path:
    """Write different sounds of four seconds as WAV files."""
    folder.mkdir()
    for seed in range(count):
        rng = np.random.default_rng(seed)
        loud = np.repeat(rng.uniform(0.2, 1, 20), 800)
        kernel = rng.normal(size=40)
        sound = np.convolve(rng.normal(size=16000) * loud, kernel, mode="same")
        sound = np.tile(sound / np.abs(sound).max(), 2)
        with wave.open(str(folder / f"{seed}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes((sound * 30000).astype("<i2").tobytes())
    return folder
