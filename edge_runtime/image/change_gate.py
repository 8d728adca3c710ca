"""Scene-change gate: decides which frames need to be hashed.

A small image (a preprocessed frame, or the preview of a JPEG) is averaged down to 56 x 56 cells and
compared with the last frame that was hashed. It is not compared with the previous frame, so slow
changes add up. Sensor noise averages out within a cell; an object that appears, disappears or moves
changes some cell by many gray levels. After a change a few more frames are hashed, so that the vote
over frames gets as many independent codes as without the gate.
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
    """Thresholds that define an unchanged scene."""

    threshold: int = 16
    """Largest difference of one cell in any channel that is not a change, gray levels of 255."""
    settle_frames: int = 5
    """Frames hashed after a change, including the first one: the votes of one decision."""
    refresh_s: float = 5.0
    """Hash a frame at least this often, changed or not."""


class ChangeGate:
    """Compares each frame with the last hashed one."""

    def __init__(self, options: GateOptions | None = None) -> None:
        self.options = options or GateOptions()
        self.hashed = self.unchanged = 0
        """Number of frames that passed the gate, and of frames that did not."""
        self._reference: Image | None = None
        self._settle = 0
        self._hashed_s = 0.0

    def should_hash(self, small: Image) -> bool:
        """Return whether the frame that `small` (uint8 H x W x 3) was made from must be hashed.

        If so, the following frames are compared with it.
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
