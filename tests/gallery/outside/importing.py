"""Import a file into a new gallery; every refusal is one short line and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

from edge_runtime.engine.fake import FakeEngine
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.gallery import Gallery
from edge_runtime.gallery.exchange.reading import import_into
from edge_runtime.gallery.rows import Meta

MODEL = FakeEngine().model
META = Meta(MODEL.id, MODEL.bits)
HEAD = json.dumps({"edge_runtime_gallery": 2, **META._asdict()}).encode() + b"\n"
GOOD = b'{"label": "x", "code": "0000000000000000"}\n'
MOST_MB = 40
SUFFIXES = (".jsonl", ".npz", ".faiss")


def import_file(path: Path, content: bytes, *, skip_bad: bool = False) -> tuple[int, list[str]]:
    """Import `content` into a new gallery; return the number of codes and the bad lines."""
    path.write_bytes(content)
    bad: list[str] = []
    gallery_path = path.with_name("imported.sqlite")
    gallery_path.unlink(missing_ok=True)
    with Gallery(gallery_path, MODEL, create=True) as gallery:
        try:
            counts = import_into(gallery, path, bad if skip_bad else None)
        except EdgeRuntimeError as error:
            assert "\n" not in str(error)
            assert str(error).isprintable()
            assert len(str(error)) < 500 + 3 * len(str(path))
            assert gallery.labels() == {}
            raise
    for line in bad:
        assert line.isprintable()
    return counts.codes_added, bad
