"""Decode photos once into one flat file of uint8 pixels that training maps into memory.

Photos larger than needed are shrunk (short side `SHORT_SIDE`), so the file and the resident memory
stay bounded whatever a phone delivers. A photo that cannot be read is skipped and named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import EdgeRuntimeError, NoPhotosError
from edge_runtime.image.decode import read_photo
from training.data.photo_sets import Photo
from training.files import write_bytes, write_whole

SHORT_SIDE = 288  # leaves room for crops at 224; the shared photos (224) stay as they are
_VERSION = 1


@dataclass(frozen=True)
class PixelCache:
    """Decoded photos. `photos` lists the readable ones, in order."""

    photos: list[Photo]
    skipped: list[str]
    _flat: NDArray[np.uint8]
    _places: list[tuple[int, int, int]]

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Return a read-only view of photo `index`: uint8 H x W x 3 BGR."""
        offset, height, width = self._places[index]
        return self._flat[offset : offset + height * width * 3].reshape(height, width, 3)


def open_cache(photos: Sequence[Photo], folder: Path = Path("build/cache")) -> PixelCache:
    """Return the decoded pixels of `photos`, cached in `folder`; decode them if missing."""
    stamp = hashlib.sha256(f"{_VERSION} {SHORT_SIDE}".encode())
    for photo in photos:
        try:
            stat = photo.path.stat()
            stamp.update(f"{photo.path.resolve()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        except OSError:
            stamp.update(f"{photo.path} missing\n".encode())
    base = folder / stamp.hexdigest()[:24]
    if not _is_whole(base):
        _write(photos, base)
    index = json.loads(base.with_suffix(".json").read_text())
    flat: NDArray[np.uint8] = np.memmap(base.with_suffix(".bin"), dtype=np.uint8, mode="r")
    readable = [photo for photo, place in zip(photos, index["places"], strict=True) if place]
    places = [(place[0], place[1], place[2]) for place in index["places"] if place]
    return PixelCache(readable, index["skipped"], flat, places)


def _is_whole(base: Path) -> bool:
    """Return whether the pixel file has the size in the index; a disk fault may truncate it."""
    try:
        places = json.loads(base.with_suffix(".json").read_text())["places"]
        size = base.with_suffix(".bin").stat().st_size
    except (OSError, ValueError, KeyError):
        return False
    return bool(size == sum(place[1] * place[2] * 3 for place in places if place))


def _decode(photo: Photo) -> NDArray[np.uint8] | str:
    try:
        image = read_photo(photo.path)
    except EdgeRuntimeError as error:
        return str(error)
    short = min(image.shape[:2])
    if short > SHORT_SIDE:
        scale = SHORT_SIDE / short
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return image


def _write(photos: Sequence[Photo], base: Path) -> None:
    places: list[tuple[int, int, int] | None] = []
    skipped: list[str] = []
    offset = 0

    def decode_all(file: BinaryIO) -> None:
        nonlocal offset
        with ThreadPoolExecutor(2) as pool:
            remaining = iter(photos)
            while batch := list(islice(remaining, 64)):  # bounds the decoded photos in flight
                for photo, image in zip(batch, pool.map(_decode, batch), strict=True):
                    if isinstance(image, str):
                        skipped.append(f"{photo.name}: {image}")
                        places.append(None)
                        continue
                    file.write(np.ascontiguousarray(image).tobytes())
                    places.append((offset, image.shape[0], image.shape[1]))
                    offset += image.nbytes
        if offset == 0:
            raise NoPhotosError(
                f"none of {len(photos)} photos could be read: {'; '.join(skipped[:3])}"
            )

    write_whole(base.with_suffix(".bin"), decode_all)
    index = json.dumps({"places": places, "skipped": skipped}).encode()
    write_bytes(base.with_suffix(".json"), index)


class PhotoReader:
    """Decode photos on each access, at full size, for evaluation.

    It has the interface of `PixelCache` and returns the pixels that the runtime would see.
    """

    def __init__(self, photos: Sequence[Photo]):
        self.photos: list[Photo] = []
        self.skipped: list[str] = []
        with ThreadPoolExecutor(2) as pool:
            for photo, fault in zip(photos, pool.map(_fault, photos), strict=True):
                if fault:
                    self.skipped.append(f"{photo.name}: {fault}")
                else:
                    self.photos.append(photo)
        if not self.photos:
            raise NoPhotosError(
                f"none of {len(photos)} photos could be read: {'; '.join(self.skipped[:3])}"
            )

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Return the pixels of photo `index`: uint8 H x W x 3 BGR."""
        return read_photo(self.photos[index].path)


def _fault(photo: Photo) -> str:
    try:
        read_photo(photo.path)
    except EdgeRuntimeError as error:
        return str(error)
    return ""


PhotoSource = PixelCache | PhotoReader
