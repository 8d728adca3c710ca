"""Audio fingerprints of 32 bits, after Haitsma & Kalker 2002 (A highly robust audio fingerprinting
system, ISMIR).

The sound is cut into overlapping frames of 0.37 s, one every 11.6 ms. A frame's spectrum has 33
bands from 300 to 2000 Hz. Bit m is 1 if the difference of the energies of bands m and m + 1 has
grown since the frame before. Two fingerprints of the same recording differ in few bits, also after
compression and in noise; those of different recordings in half of them. A frame that is silent has
the fingerprint 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 5512
"""Samples per second."""
FRAME, HOP = 2048, 64
"""Samples of a frame, and from one frame to the next."""
PER_SECOND = RATE / HOP
"""Fingerprints per second."""
BITS = 32
SILENCE = 1e-3
"""Root mean square of a frame, of 1, below which it is silent: -60 dB."""
QUIET = 0.02
"""Share of the loudest frame below which a frame counts as silent, too: -34 dB."""
_LOW_HZ, _HIGH_HZ = 300.0, 2000.0
_CHUNK = 256

Samples = NDArray[np.float32]
"""Mono sound at `RATE`, float32 [N], -1 to 1."""
Fingerprints = NDArray[np.uint32]
"""One per `HOP`, uint32 [n]; 0 is silence."""


def _bands() -> NDArray[np.float32]:
    """Return the matrix that sums a power spectrum to band energies, [FRAME / 2 + 1, BITS + 1]."""
    edges = np.geomspace(_LOW_HZ, _HIGH_HZ, BITS + 2)
    bins = np.fft.rfftfreq(FRAME, 1 / RATE)[:, np.newaxis]
    inside = (bins >= edges[:-1]) & (bins < edges[1:])
    return inside.astype(np.float32)


def fingerprints(samples: Samples) -> Fingerprints:
    """Return the fingerprints of a sound; none if it is shorter than 0.4 s."""
    count = (len(samples) - FRAME) // HOP + 1
    if count < 2:
        return np.zeros(0, np.uint32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP][:count]
    shape = np.hanning(FRAME).astype(np.float32)
    bands = _bands()
    energies = np.empty((count, BITS + 1), np.float32)
    loudness = np.empty(count, np.float32)
    for begin in range(0, count, _CHUNK):  # the spectra of a whole clip would take 100 MB
        part = windows[begin : begin + _CHUNK]
        spectrum = np.abs(np.fft.rfft(part * shape, axis=1)) ** 2
        energies[begin : begin + _CHUNK] = spectrum.astype(np.float32) @ bands
        loudness[begin : begin + _CHUNK] = np.sqrt((part**2).mean(axis=1))
    slopes = energies[:, :-1] - energies[:, 1:]
    grown = slopes[1:] > slopes[:-1]
    packed = np.packbits(grown, axis=1, bitorder="little").view("<u4")[:, 0].astype(np.uint32)
    heard = loudness[1:] >= max(SILENCE, QUIET * float(loudness.max()))
    return np.where(heard, packed, 0).astype(np.uint32)
