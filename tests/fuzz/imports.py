"""The readers of exported galleries: JSON lines, npz and faiss."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import numpy as np

from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.gallery.exchange.reading import import_codes
from edge_runtime.gallery.rows import Meta
from tests.fuzz.reader import Reader

META = Meta("f" * 64, 64)
SUFFIXES = (".jsonl", ".npz", ".faiss")


def reader() -> Reader:
    """Return the reader: the first byte of an input selects the format."""
    folder = Path(tempfile.mkdtemp(prefix="edge-imports-"))

    def read(data: bytes) -> object:
        data = data or b"\0"
        path = folder / f"a{SUFFIXES[data[0] % len(SUFFIXES)]}"
        path.write_bytes(data[1:])
        (folder / "a.faiss.labels").write_bytes(b"x\n" * 3)
        return import_codes(path, META, [] if data[0] & 128 else None)

    return Reader("imports", seeds, read, (EdgeRuntimeError,))


def seeds() -> list[bytes]:
    """Return an export in each format."""
    head = json.dumps({"edge_runtime_gallery": 2, **META._asdict()})
    note = json.dumps({"note": "x", "payload": "{}", "thumbnail": "/9j/"})
    code = {"id": 1, "label": "x", "code": "00" * 8, "source": "a.jpg", "digest": "00" * 32}
    lines = [head, note, *(json.dumps({**code, "position": [n, 2.5, None]}) for n in range(3))]
    text = "\n".join(lines).encode() + b"\n"
    archives = []
    for compressed in (False, True):
        arrays = io.BytesIO()
        (np.savez_compressed if compressed else np.savez)(
            arrays,
            format=2,
            model_id=META.model_id,
            bits=64,
            ids=np.arange(3),
            labels=np.array(["x", "yy", "z"]),
            sources=np.array(["", "a.jpg", "b.jpg"]),
            digests=np.array(["", "00" * 32, "01" * 32]),
            codes=np.arange(3, dtype=np.uint64)[:, np.newaxis],
            positions=np.zeros((3, 3)),
            noted=np.array(["x"]),
            payloads=np.array(["{}"]),
            thumbnails=np.array(["/9j/"]),
        )
        archives.append(b"\1" + arrays.getvalue())
    head_bytes = b"".join(n.to_bytes(4, "little") for n in (64, 8)) + (3).to_bytes(8, "little")
    flat = b"IBxF" + head_bytes + b"\1\1\0\0\0" + (24).to_bytes(8, "little") + bytes(24)
    mapped = b"IBMp" + head_bytes + b"\1\1\0\0\0" + flat + (3).to_bytes(8, "little") + bytes(24)
    return [
        *(bytes([first]) + text for first in (0, 129)),
        *archives,
        *(b"\2" + index for index in (flat, mapped)),
    ]
