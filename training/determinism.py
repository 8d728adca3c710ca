"""Process-wide settings that make a run reproducible."""

from __future__ import annotations

import ctypes
import sys

import cv2
import torch

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h
THREADS = 2
"""Threads of torch. The order of summation in a convolution, and so the result, depends on it."""


def set_determinism(seed: int, threads: int = THREADS) -> None:
    """Fix everything that a result could depend on: seed, thread counts and algorithms."""
    # The augmentation threads hold the interpreter lock. Torch's thread releases it in each of the
    # hundreds of operations of a step. At the default switch interval of 5 ms it would spend more
    # time waiting for the lock than computing.
    sys.setswitchinterval(1e-4)
    _keep_freed_memory()
    cv2.setNumThreads(1)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # No operation here reads memory before writing it, so filling new tensors would be wasted work.
    torch.utils.deterministic.fill_uninitialized_memory = False


def _keep_freed_memory() -> None:
    """Make glibc's malloc keep freed memory and never use separate mappings.

    The feature maps of a training step are large. By default, malloc maps each one, the kernel
    zeroes it page by page, and it is unmapped again. This took a quarter of a step or more when it
    was measured by hand.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 64 << 20)):
        if mallopt is not None:
            mallopt(option, value)
