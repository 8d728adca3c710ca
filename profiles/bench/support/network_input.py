"""The shipped networks and the picture that the network benchmarks run on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_runtime.image import Image

ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "models" / "mobilenet_v1_hash64.onnx"
QUANTIZED_MODEL = ROOT / "models" / "mobilenet_v1_hash64_int8.onnx"


def sample_picture(size: int) -> Image:
    """Return a picture of color gradients, uint8 [size, size, 3]."""
    ramp = np.linspace(0, 255, size)
    channels = np.stack([np.add.outer(ramp, ramp) / 2, *np.meshgrid(ramp, ramp)], axis=2)
    return channels.astype(np.uint8)
