"""All threads allocate from one heap, so that memory does not grow with their number."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ALLOCATE = """
import ctypes, sys, threading
from edge_runtime.system.memory import share_heap

if sys.argv[1] == "shared":
    share_heap()
library = ctypes.CDLL(None)  # its functions run without the lock of the interpreter
library.malloc.restype = ctypes.c_void_p
together = threading.Barrier(8)

def allocate():
    together.wait()
    for _ in range(1000):
        library.malloc(ctypes.c_size_t(2000))
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
library.malloc_info(0, ctypes.c_void_p.in_dll(library, "stdout"))
library.fflush(None)
"""


def _heaps(how: str) -> int:
    command = [sys.executable, "-c", ALLOCATE, how]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.count(
        "<heap nr="
    )


@pytest.mark.skipif(
    "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""), reason="not the C library glibc"
)
def test_threads_share_one_heap() -> None:
    assert _heaps("shared") == 1
    assert _heaps("as always") > 1
