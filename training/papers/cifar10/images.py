"""Read CIFAR-10: the official python version, or a tree of pictures {train,test}/CLASS/*.

Both forms give the images in the same order: train before test, then by class, then by the order
within the class. A split by position is therefore the same for both.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import EdgeRuntimeError
from edge_runtime.image.decode import SUFFIXES, read_photo
from training.data.photo_sets import DataError

SIDE = 32
PARTS = ("train", "test")
BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
_REMEDY = "give the folder cifar-10-batches-py, or one with train/CLASS/ and test/CLASS/"
Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Images:
    """The images of a folder; pixels are read when asked for."""

    labels: Ints
    """Class of each image, int64 [N]."""
    test: NDArray[np.bool_]
    """Whether an image belongs to the test part, bool [N]."""
    classes: tuple[str, ...]
    stamp: str
    """Changes with the files of the folder."""
    lossless: bool
    """Whether the pixels are the original ones."""
    _paths: tuple[Path, ...] = ()
    _pixels: Pixels | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Pixels:
        """Return image `index`, uint8 [32, 32, 3] BGR; raises DataError if it is damaged."""
        if self._pixels is not None:
            stored: Pixels = self._pixels[index]
            return stored
        path = self._paths[index]
        try:
            picture = read_photo(path)
        except EdgeRuntimeError as error:
            raise DataError(str(error)) from error
        if picture.shape != (SIDE, SIDE, 3):
            raise DataError(
                f"{picture.shape[1]} x {picture.shape[0]} pixels, not {SIDE} x {SIDE}", where=path
            )
        return picture


def open_images(folder: Path) -> Images:
    """Open CIFAR-10 in `folder`, in either form; raises DataError."""
    if not folder.is_dir():
        raise DataError("not a folder", where=folder, remedy=_REMEDY)
    inner = folder / "cifar-10-batches-py"
    official = inner if inner.is_dir() else folder
    if (official / BATCHES["train"][0]).exists():
        return _from_batches(official)
    return _from_tree(folder)


def _from_tree(folder: Path) -> Images:
    stamp = hashlib.sha256()
    paths: list[Path] = []
    labels: list[int] = []
    test: list[bool] = []
    found = {part: _class_names(folder / part) for part in PARTS}
    if not found["train"] or found["train"] != found["test"]:
        raise DataError("train/ and test/ do not hold the same classes", where=folder,
                        remedy=_REMEDY)  # fmt: skip
    for part in PARTS:
        for label, name in enumerate(found[part]):
            for path in _pictures(folder / part / name):
                stat = path.stat()
                place = path.relative_to(folder).as_posix()
                stamp.update(f"{place} {stat.st_size} {stat.st_mtime_ns}\n".encode())
                paths.append(path)
                labels.append(label)
                test.append(part == "test")
    return Images(np.array(labels, np.int64), np.array(test), found["train"],
                  stamp.hexdigest(), lossless=False, _paths=tuple(paths))  # fmt: skip


def _class_names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.glob("*") if path.is_dir()))


def _pictures(folder: Path) -> Iterator[Path]:
    return iter(sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES))


def _from_batches(folder: Path) -> Images:
    stamp = hashlib.sha256()
    pixels: list[Pixels] = []
    labels: list[Ints] = []
    test: list[NDArray[np.bool_]] = []
    for part in PARTS:
        read = [_batch(folder / name, stamp) for name in BATCHES[part]]
        own = np.concatenate([each[1] for each in read])
        order = np.argsort(own, kind="stable")
        pixels.append(np.concatenate([each[0] for each in read])[order])
        labels.append(own[order])
        test.append(np.full(len(own), part == "test"))
    names = _unpickle(folder / "batches.meta").get("label_names", ())
    known = np.concatenate(labels)
    if len(names) <= int(known.max()):
        raise DataError("label_names is missing", where=folder / "batches.meta", remedy=_REMEDY)
    classes = tuple(map(_text, names))
    return Images(known, np.concatenate(test), classes, stamp.hexdigest(), lossless=True,
                  _pixels=np.concatenate(pixels))  # fmt: skip


def _batch(path: Path, stamp: Any) -> tuple[Pixels, Ints]:
    """Return the pixels uint8 [N, 32, 32, 3] BGR and the labels int64 [N] of one batch file."""
    batch = _unpickle(path)
    data, labels = batch.get("data"), np.asarray(batch.get("labels", ()), np.int64)
    if not (
        isinstance(data, np.ndarray)
        and data.dtype == np.uint8
        and data.shape == (len(labels), 3 * SIDE * SIDE)
        and len(labels)
    ):
        raise DataError("not a batch of CIFAR-10", where=path, remedy=_REMEDY)
    stamp.update(data.tobytes())
    planes = data.reshape(-1, 3, SIDE, SIDE)[:, ::-1]  # red, green, blue planes
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


class _ArraysOnly(pickle.Unpickler):
    """Unpickles arrays and plain values; a file from elsewhere must not run code."""

    _allowed = frozenset({
        ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
    })  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class; raises UnpicklingError for any other."""
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not expected")
        return super().find_class(module, name)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _unpickle(path: Path) -> dict[str, Any]:
    """Read a file of the python version, with its keys as text; raises DataError."""
    try:
        with path.open("rb") as file:
            found = _ArraysOnly(file, encoding="latin1").load()
        return {_text(key): value for key, value in found.items()}
    except (OSError, EOFError, ValueError, AttributeError, pickle.UnpicklingError) as error:
        raise DataError(f"cannot be read: {error}", where=path, remedy=_REMEDY) from error
