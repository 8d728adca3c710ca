"""Has the scene changed? Decides which frames are worth a network call.

A small picture (fitted, or a JPEG that was decoded only as far as this needs) is averaged down to
56 x 56 cells and compared with the last one that was hashed
(not with the last one seen, so that slow changes add up). Sensor noise averages out in a cell; a
thing that comes, goes or moves changes some cell by many grey levels. After a change a few more
frames are hashed, so that a vote over frames gets as many independent looks as without the gate.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import cv2
import numpy as np

from edge_runtime.image import Image

CELLS = 56


@dataclass(frozen=True)
class GateOptions:
    """When a scene counts as unchanged."""

    threshold: int = 16
    """Grey levels (of 255) that one cell may differ in any channel without it being a change."""
    settle_frames: int = 5
    """Frames hashed after the last change, that one included: the votes of a decision."""
    refresh_s: float = 5.0
    """Hash at least so often, changed or not."""


class ChangeGate:
    """Remembers the last hashed picture, and says whether another one needs hashing."""

    def __init__(self, options: GateOptions | None = None) -> None:
        self.options = options or GateOptions()
        self.hashed = self.unchanged = 0
        """Frames that were to be hashed, and frames that were not."""
        self._reference: Image | None = None
        self._settle = 0
        self._hashed_s = 0.0

    def should_hash(self, small: Image) -> bool:
        """Whether the picture must be hashed of which `small` (uint8 H x W x 3) is a version.

        If so, it is what the next ones are compared with.
        """
        cells = np.asarray(
            cv2.resize(small, (CELLS, CELLS), interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
        now_s = time.monotonic()
        if (
            self._reference is None
            or cv2.norm(cells, self._reference, cv2.NORM_INF) > self.options.threshold
        ):
            self._settle = self.options.settle_frames
        elif now_s - self._hashed_s >= self.options.refresh_s:
            self._settle = max(self._settle, 1)
        if self._settle <= 0:
            self.unchanged += 1
            return False
        self._settle -= 1
        self._reference, self._hashed_s = cells, now_s
        self.hashed += 1
        return True
