"""Images: decoding, orientation, preprocessing, and the gate that skips unchanged frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""uint8 height x width x 3; channels blue, green, red, as OpenCV reads them."""
