"""FFmpeg's log, which all cameras share, while one camera reads it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edge_runtime.camera.interlaced import ffmpeg_library
from tests.support.processes import ROOT

LOGGING = """
import ctypes, threading, time
from edge_runtime.camera.conversion import _logs_error
from edge_runtime.camera.interlaced import ffmpeg_library
library, end = ffmpeg_library("avutil"), time.monotonic() + 2
library.av_log.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p]
def talk():
    while time.monotonic() < end:
        library.av_log(None, 56, b"a line of another camera")
def check():
    while time.monotonic() < end:
        assert not _logs_error(library, lambda: time.sleep(0))
threads = [threading.Thread(target=each) for each in (*[talk] * 6, check)]
for each in threads:
    each.start()
for each in threads:
    each.join()
"""


@pytest.mark.skipif(ffmpeg_library("avutil") is None, reason="OpenCV brings no FFmpeg of its own")
def test_other_cameras_may_log_while_one_is_checked() -> None:
    """A freed callback, which a thread of another camera had begun to call, was a SIGSEGV."""
    done = subprocess.run(
        [sys.executable, "-c", LOGGING], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
