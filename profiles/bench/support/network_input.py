"""The shipped networks and the picture that the network benchmarks run on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_runtime.image import Image
from edge_runtime.model import MODEL_FILE, PACKAGED_MODEL_FILE

ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "models" / MODEL_FILE
QUANTIZED_MODEL = ROOT / "models" / PACKAGED_MODEL_FILE


def sample_picture(size: int) -> Image:
    """Return a picture of color gradients, uint8 [size, size, 3]."""
    ramp = np.linspace(0, 255, size)
    channels = np.stack([np.add.outer(ramp, ramp) / 2, *np.meshgrid(ramp, ramp)], axis=2)
    return channels.astype(np.uint8)
