"""What a process hashes, and what it answers. All of these values travel between processes."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from edge_runtime.code import Embedding
from edge_runtime.engine import Engine
from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.fitting.quantized import quantize
from edge_runtime.gallery.query import VIEWS
from edge_runtime.image.decode import decode_photo, read_bytes
from edge_runtime.image.preprocess import views_of
from edge_runtime.recognition.pipeline import embedding_of
from edge_runtime.shortage import shortage


class Method(NamedTuple):
    """How photos become codes. One output has one method."""

    model_id: str
    bits: int
    features: int
    """Length F of the features that are stored with a code; 0: none are."""
    views: int
    """Codes per photo: 1, or all of `views_of`."""


class Setup(NamedTuple):
    """What a process needs to begin."""

    model: str
    """The path of the model on the machine of the process; "": the one that it finds."""
    method: Method


class Task(NamedTuple):
    """A photo to hash."""

    photo: bytes
    """Its absolute path, as the system stores it: this identifies the photo."""
    path: str
    """Where to read it."""


class Hashed(NamedTuple):
    """A photo that was hashed."""

    photo: bytes
    digest: bytes
    """SHA-256 of the file."""
    codes: bytes
    """Little-endian uint64 [views, W]."""
    features: bytes
    """int8 [views, F], or empty."""


class Failed(NamedTuple):
    """A photo that cannot be hashed."""

    photo: bytes
    what: str
    remedy: str = ""


Outcome = Hashed | Failed


def method_of(engine: Engine, *, features: bool, views: bool) -> Method:
    """Return the method that hashes with `engine`."""
    model = engine.model
    return Method(model.id, model.bits, model.features if features else 0, VIEWS if views else 1)


def hash_photo(engine: Engine, method: Method, task: Task) -> Outcome:
    """Hash one photo. Whatever is wrong with it is the answer, not an error."""
    try:
        data = read_bytes(task.path)
        digest = hashlib.sha256(data).digest()
        image = decode_photo(data, where=task.path)
        views = views_of(image)[: method.views] if method.views > 1 else [image]
        embeddings = [embedding_of(engine, view) for view in views]
        return Hashed(task.photo, digest, *_packed(embeddings, method))
    except EdgeRuntimeError as error:
        return Failed(task.photo, error.what, error.remedy)
    except Exception as error:
        fault = shortage(error)
        what = fault.what if fault else f"{type(error).__name__}: {error}"
        return Failed(task.photo, what, fault.remedy if fault else "")


def _packed(embeddings: list[Embedding], method: Method) -> tuple[bytes, bytes]:
    codes = np.stack([each.code for each in embeddings]).astype("<u8").tobytes()
    if not method.features:
        return codes, b""
    rows = [quantize(each.features) for each in embeddings if each.features is not None]
    return codes, b"".join(row.tobytes() for row in rows)
