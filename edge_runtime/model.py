"""The metadata of a hash network, and the search for a model file.

A model is one ONNX file, and the files beside it that hold its weights, if they are not in it. Its
metadata describes its input and output, so the two cannot be separated. Its id is the SHA-256
digest of the file, or of the one file that holds the same model with all its weights
(edge_runtime.onnx_file.structure). Metadata keys (all values are strings):

    edge.format      "1"
    edge.name        shown to users
    edge.version     shown to users
    edge.bits        K, the length of a code
    edge.threshold   an activation above it becomes a 1
    edge.bit_order   "little" (edge_runtime.code)
    edge.radius      Hamming distance up to which a nearest neighbor counts as known
    edge.input       JSON: size, geometry, `colour`, scale, offset (value = pixel * scale + offset)

and, if they apply:

    edge.features        F, the length of the pooled features, which enter the hash layer
    edge.same_codes_as   ids of earlier files whose codes are identical, separated by commas

The graph's first output is `hash`, float32 [1, K]. A file with edge.features has a second output,
`features`, float32 [1, F].
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_runtime.code import BIT_ORDER
from edge_runtime.errors import ModelInvalidError, ModelNotFoundError, storage_error
from edge_runtime.system.files import open_regular
from edge_runtime.trust.files import checked_file

FORMAT = "1"
MODEL_FILE = "mobilenet_v1_general.onnx"
PACKAGED_MODEL_FILE = "mobilenet_v1_general_int8.onnx"
SPECIALIST_FILES = {
    "mobilenet_v1_hash64.onnx": (
        "225a1ba41746537ed0d7b87d5825c4ced37a018cfa63a3d14c78ecaf762b6612",
        "8503bfe2514534b8d329be7e91db22a969b493eb43c1266da98da81ec042d54a",
    ),
    "mobilenet_v1_hash64_int8.onnx": (
        "a6a070c57d27e04ae59d8f58f9dce0042cdbcd1f7a9bd738e22615f5d5f89a49",
        "b1bd8fffec718c5c4b672a114926d62857cdaa57ec9d64c13066d2fc6e4b82b6",
    ),
}
"""Files of models/ that were the default before, with the ids whose codes they accept: networks for
the groceries and places of the sets that they were trained on."""
PRIOR_FILE = "prior.npz"
"""The feature prior in a bundle. That of NAME.onnx is NAME.prior.npz (`prior_path`)."""
MODEL_VARIABLE = "EDGE_RUNTIME_MODEL"
MAX_FEATURES = 1 << 16
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class InputSpec:
    """How pixels become the network's input tensor; the fields are the keys of edge.input."""

    size: int = 224
    """Side of the square, pixels."""
    geometry: str = "squash"
    """How an image becomes a square; edge_runtime.image.preprocess supports "squash"."""
    colour: str = "rgb"
    """Channel order of the tensor."""
    scale: float = 1 / 127.5
    """value = pixel * scale + offset"""
    offset: float = -1.0


@dataclass(frozen=True)
class ModelInfo:
    """A model's identity and metadata."""

    id: str
    """SHA-256 of the file with all weights, hexadecimal."""
    path: str
    size_bytes: int
    name: str
    version: str
    bits: int
    threshold: float
    radius: int
    input: InputSpec
    features: int = 0
    """Length F of the pooled features that the network gives beside the hash; 0: it gives none."""
    same_codes_as: tuple[str, ...] = ()
    """Ids of earlier model files whose codes are identical, so their galleries can be used."""

    def accepts_codes_of(self, model_id: str) -> bool:
        """Return whether codes of the model `model_id` can be compared with this model's."""
        return model_id == self.id or model_id in self.same_codes_as

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata entries that `parse_metadata` reads."""
        entries = {
            "edge.format": FORMAT,
            "edge.name": self.name,
            "edge.version": self.version,
            "edge.bits": str(self.bits),
            "edge.threshold": repr(self.threshold),
            "edge.bit_order": BIT_ORDER,
            "edge.radius": str(self.radius),
            "edge.input": json.dumps(asdict(self.input)),
        }
        if self.features:
            entries["edge.features"] = str(self.features)
        if self.same_codes_as:
            entries["edge.same_codes_as"] = ",".join(self.same_codes_as)
        return entries


def parse_metadata(
    metadata: Mapping[str, str], *, path: str | os.PathLike[str], model_id: str, size_bytes: int
) -> ModelInfo:
    """Parse the `metadata` of the model file at `path`.

    `model_id` and `size_bytes` come from `identify`. Raises `ModelInvalidError` if an entry is
    missing, malformed, or requires a feature that this runtime lacks.
    """

    def fail(what: str) -> ModelInvalidError:
        return ModelInvalidError(
            what, where=path, remedy="use a model exported by training/ or shipped in models/"
        )

    if metadata.get("edge.format") != FORMAT:
        found = metadata.get("edge.format")
        raise fail(
            f"unsupported model format {found}, expected {FORMAT}"
            if found
            else "not a hash network of edge-runtime: it has no edge.* metadata"
        )
    try:
        fields: dict[str, Any] = json.loads(metadata["edge.input"])
        info = ModelInfo(
            id=model_id,
            path=str(path),
            size_bytes=size_bytes,
            name=metadata.get("edge.name", Path(path).stem),
            version=metadata.get("edge.version", ""),
            bits=int(metadata["edge.bits"]),
            threshold=float(metadata["edge.threshold"]),
            radius=int(metadata["edge.radius"]),
            input=InputSpec(
                size=int(fields["size"]),
                geometry=str(fields["geometry"]),
                colour=str(fields["colour"]),
                scale=float(fields["scale"]),
                offset=float(fields["offset"]),
            ),
            features=int(metadata.get("edge.features", "0")),
            same_codes_as=_ids(metadata.get("edge.same_codes_as", "")),
        )
    except KeyError as error:
        raise fail(f"metadata lacks {error}") from error
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise fail(f"metadata is malformed: {str(error)[:200]}") from error
    for name, number in (
        ("threshold", info.threshold),
        ("input scale", info.input.scale),
        ("input offset", info.input.offset),
    ):
        if not math.isfinite(number):
            raise fail(f"the {name} must be a finite number, got {number}")
    if info.input.scale == 0:
        raise fail("the input scale is 0, so every picture would have the same code")
    if not 1 <= info.bits <= 4096 or not 0 <= info.radius <= info.bits:
        raise fail(
            "bits must be between 1 and 4096 and radius between 0 and bits, "
            f"got {info.bits} bits and radius {info.radius}"
        )
    if not 1 <= info.input.size <= 4096:
        raise fail(f"input size must be between 1 and 4096 pixels, got {info.input.size}")
    if not 0 <= info.features <= MAX_FEATURES:
        raise fail(f"features must be between 0 and {MAX_FEATURES}, got {info.features}")
    for key, value, known in (
        ("edge.bit_order", metadata.get("edge.bit_order", BIT_ORDER), BIT_ORDER),
        ("edge.input.geometry", info.input.geometry, "squash"),
        ("edge.input.colour", info.input.colour, "rgb"),
    ):
        if value != known:
            raise fail(f'unsupported {key} "{value}", this version supports "{known}"')
    return info


def _ids(text: str) -> tuple[str, ...]:
    """Return the ids in `text`, separated by commas; raises ValueError if one is not an id."""
    ids = tuple(filter(None, (each.strip() for each in text.split(","))))
    if wrong := next((each for each in ids if not _ID.fullmatch(each)), None):
        raise ValueError(f'"{wrong}" in edge.same_codes_as is not a SHA-256 in hexadecimal')
    return ids


def find_model(path: str | os.PathLike[str] | None = None) -> Path:
    """Return the model to use: an ONNX file, or the folder of a bundle (edge_runtime.bundle).

    The first of `path`, $EDGE_RUNTIME_MODEL, the checkout's models/ folder, and the int8 model that
    an installed wheel carries. Raises `ModelNotFoundError`.
    """
    for named, remedy in (
        (path, "check the path"),
        (os.environ.get(MODEL_VARIABLE), f"check the path in {MODEL_VARIABLE}"),
    ):
        if named:
            if Path(named).is_file() or (Path(named) / "manifest.json").is_file():
                return Path(named)
            raise ModelNotFoundError(
                "no such model file or bundle"
                if not Path(named).exists()
                else "a folder without manifest.json, so not a bundle"
                if Path(named).is_dir()
                else "not a regular file",
                where=named,
                remedy=remedy,
            )
    package = Path(__file__).resolve().parent
    shipped = (package.parent / "models" / MODEL_FILE, package / "data" / PACKAGED_MODEL_FILE)
    for file in shipped:
        if file.is_file():
            return file
    raise ModelNotFoundError(
        f"no model found: not given, {MODEL_VARIABLE} is not set, and there is no "
        + " or ".join(map(str, shipped)),
        remedy=f"pass --model FILE or set {MODEL_VARIABLE}=FILE",
    )


def specialist_file(model_id: str) -> str | None:
    """Return the specialist of models/ that accepts codes of the model `model_id`; None: none."""
    return next((file for file, ids in SPECIALIST_FILES.items() if model_id in ids), None)


def prior_path(model: str | os.PathLike[str]) -> Path:
    """Return where the feature prior of `model`, an ONNX file or the folder of a bundle, belongs.

    A prior describes the features of a network (training/hash_layer/prior.py has its arrays).
    """
    path = Path(model)
    return path / PRIOR_FILE if path.is_dir() else path.with_suffix(".prior.npz")


def find_prior(model: str | os.PathLike[str]) -> Path | None:
    """Return where to read the feature prior of `model`; None without (see `locate_prior`).

    Where keys are installed it needs a signature, as the model does: raises `TrustError` or
    `BundleInvalidError`.
    """
    found = locate_prior(model)
    return found and checked_file(found)


def locate_prior(model: str | os.PathLike[str]) -> Path | None:
    """Return the feature prior of `model`, an ONNX file or the folder of a bundle; None without.

    NAME_int8.onnx shares the prior of NAME.onnx, unless it has its own. The ONNX file of a bundle
    has the prior of the bundle.
    """
    path = Path(model)
    files = [prior_path(path)]
    if not path.is_dir():
        files.append(path.with_name(f"{path.stem.removesuffix('_int8')}.prior.npz"))
        if (path.parent / "manifest.json").is_file():
            files.append(path.with_name(PRIOR_FILE))
    return next((file for file in files if file.is_file()), None)


def identify(path: str | os.PathLike[str]) -> tuple[str, int]:
    """Return the id (SHA-256, hexadecimal) and size (bytes) of the model file at `path`.

    They cover weights in other files: they are those of the one file that holds the whole model.
    Raises `ModelNotFoundError` if it cannot be read, `ModelInvalidError` if weights are missing.
    """
    from edge_runtime.onnx_file.structure import Span, blocks, read_structure
    from edge_runtime.onnx_file.wire import MalformedError

    try:
        with open_regular(path) as file:
            try:
                pieces = read_structure(Path(path), file).pieces
            except MalformedError:  # not an ONNX file
                pieces = [Span(Path(path), 0, os.fstat(file.fileno()).st_size)]
        return _digest(blocks(pieces))
    except OSError as error:
        raise _unreadable(error, path) from error


def check_model(
    path: str | os.PathLike[str], *, where: str | os.PathLike[str] = ""
) -> tuple[str, int]:
    """Return what `identify` returns, if the ONNX file at `path` is complete and its weights valid.

    Raises `ModelInvalidError` with the reason if not (edge_runtime.onnx_file.checks), and
    `ModelNotFoundError` if it cannot be read. Errors call the file `where`, if given.
    """
    from edge_runtime.onnx_file.checks import read_model_file
    from edge_runtime.onnx_file.structure import blocks

    try:
        return _digest(blocks(read_model_file(path).pieces))
    except OSError as error:
        raise _unreadable(error, where or path) from error
    except ModelInvalidError as error:
        raise ModelInvalidError(
            error.what, where=where or error.where, remedy=error.remedy
        ) from error


def copy_whole_model(path: str | os.PathLike[str], to: Path) -> None:
    """Write the model at `path` to the file `to`, with all weights in it: the id stays the same."""
    from edge_runtime.onnx_file.checks import COPY_AGAIN
    from edge_runtime.onnx_file.structure import blocks, read_structure
    from edge_runtime.onnx_file.wire import MalformedError

    try:
        with open_regular(path) as file:
            pieces = read_structure(Path(path), file).pieces
        with to.open("wb") as out:
            out.writelines(blocks(pieces))
    except OSError as error:
        raise storage_error(error, error.filename or to) or error from error
    except MalformedError as error:
        raise ModelInvalidError(str(error), where=path, remedy=COPY_AGAIN) from error


def _digest(blocks: Iterable[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size


def _unreadable(error: OSError, path: str | os.PathLike[str]) -> ModelNotFoundError:
    fault = storage_error(error, path)
    return ModelNotFoundError(
        fault.what if fault else str(error), where=path, remedy=fault.remedy if fault else ""
    )
