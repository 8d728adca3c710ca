"""The compiled part, where there is one."""

from __future__ import annotations

import sys
from typing import Any

hamming: Any
try:
    from edge_runtime import _hamming as hamming
except ImportError:  # installed without a compiler
    hamming = None


def kernels() -> list[str]:
    """What can run here, fastest first; "numpy" always."""
    compiled = hamming.kernels() if hamming and sys.byteorder == "little" else []
    return [*compiled, "numpy"]
