"""Sounds for tests: broadband bursts that differ from seed to seed, as WAV files."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.sound.fingerprint import RATE


def sound_of(seed: int, seconds: float = 4.0) -> NDArray[np.float32]:
    """Return noise whose spectrum and loudness change all the time, float32 [N] at `RATE`."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(max(round(seconds * 5), 1)):  # 0.2 s each
        spectrum = np.fft.rfft(rng.normal(size=RATE // 5))
        width = len(spectrum)
        gains = np.interp(np.arange(width), np.linspace(0, width, 12), rng.uniform(0, 1, 12) ** 2)
        parts.append(np.fft.irfft(spectrum * gains, RATE // 5) * rng.uniform(0.3, 1))
    samples = np.concatenate(parts)
    found: NDArray[np.float32] = (0.5 * samples / np.abs(samples).max()).astype(np.float32)
    return found


def write_wav(
    path: Path, samples: NDArray[np.float32], rate: int = RATE, channels: int = 1, width: int = 2
) -> Path:
    """Write mono sound (-1 to 1) as PCM, the same in each channel."""
    scale = 2 ** (8 * width - 1) - 1
    values = np.repeat(samples[:, np.newaxis], channels, axis=1) * scale
    kind = {1: "u1", 2: "<i2", 4: "<i4"}[width]
    values = np.rint(values + (128 if width == 1 else 0)).astype(kind)
    with path.open("wb") as opened, wave.open(opened) as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(values.tobytes())
    return path
