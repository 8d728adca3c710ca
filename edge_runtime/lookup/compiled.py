"""The compiled module, if it is available."""

from __future__ import annotations

import sys
from typing import Any

hamming: Any
try:
    from edge_runtime import _hamming as hamming
except ImportError:  # installed without a compiler
    hamming = None


def kernels() -> list[str]:
    """Return the kernels that run on this machine, fastest first; "numpy" is always last."""
    compiled = hamming.kernels() if hamming and sys.byteorder == "little" else []
    return [*compiled, "numpy"]
