"""The loop that `edge-runtime hash` is compared with: one process, no journal."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2

from edge_runtime.engine import open_engine
from edge_runtime.image.decode import decode_photo, find_photos, read_bytes
from edge_runtime.recognition.pipeline import code_of


def plain(photos: str, output: str) -> None:
    """Hash every photo in one process, and write a line for each."""
    cv2.setNumThreads(1)
    engine = open_engine()
    with Path(output).open("w") as file:
        file.write("{}\n")
        for path in find_photos(Path(photos)):
            data = read_bytes(path)
            code = code_of(engine, decode_photo(data, where=path))
            line = {
                "source": str(path),
                "digest": hashlib.sha256(data).hexdigest(),
                "code": code.astype("<u8").tobytes().hex(),
            }
            file.write(json.dumps(line) + "\n")
