"""Photos for `edge-runtime hash`, a small network, and decoders that fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_runtime.batch.run import HashOptions, HashResult, hash_photos
from tests.support.processes import ROOT
from tests.support.tiny_onnx import TinyModel

HANG, CRASH = b"<hang>", b"<crash>"
"""A photo that ends with one of these hangs or crashes the process of `faulty_decoder`."""

_FAULTY = """
import os, signal, sys, time
if "batch.child" in " ".join(sys.orig_argv):
    import edge_runtime.image.decode as module
    decode = module.decode_photo
    def decode_photo(data, **options):
        if data.endswith(b"<hang>"):
            time.sleep(3600)
        if data.endswith(b"<crash>"):
            os.kill(os.getpid(), signal.SIGSEGV)
        open(os.path.join(os.environ["TEST_AT_WORK"], str(os.getpid())), "a").close()
        time.sleep(float(os.environ["TEST_DELAY_S"]))
        return decode(data, **options)
    module.decode_photo = decode_photo
"""


def photo(seed: int, ending: bytes = b"") -> bytes:
    """A JPEG of 40 x 40 pixels that is different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    pixels = cv2.resize(coarse, (40, 40), interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".jpg", pixels)[1]) + ending


def write_photos(folder: Path, count: int, labels: int = 4) -> Path:
    """Write `count` different photos in `labels` sub-folders; return `folder`."""
    for number in range(count):
        place = folder / f"label {number % labels}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.jpg").write_bytes(photo(number))
    return folder


def tiny_model(folder: Path) -> Path:
    """A network that takes no time."""
    return TinyModel().write(folder / "tiny.onnx")


def hash_into(photos: Path, output: Path, model: Path, **options: object) -> HashResult:
    """Hash a folder in this process; `options` are those of `HashOptions`."""
    return hash_photos((photos,), output, HashOptions(str(model), **options))  # type: ignore[arg-type]


def faulty_decoder(folder: Path, delay_s: float = 0) -> dict[str, str]:
    """Variables with which the processes that hash fail at `HANG` and `CRASH`.

    They also take `delay_s` more for each photo, and make a file with the number of the process in
    `folder`/at work. Python runs sitecustomize.py when it starts.
    """
    at_work = folder / "at work"
    at_work.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(_FAULTY)
    return {
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "TEST_DELAY_S": str(delay_s),
        "TEST_AT_WORK": str(at_work),
    }


def start_hash(*arguments: object, **variables: str) -> subprocess.Popen[str]:
    """`edge-runtime hash ARGUMENTS` as a process that can be killed."""
    return subprocess.Popen(
        [sys.executable, "-m", "edge_runtime", "hash", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **variables},
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]
