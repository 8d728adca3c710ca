"""Enroll pictures: folders of photos, single photos, or frames of a camera.

An enrolled *picture* has one *code* per *view* (see `views_of`). This module is the only place
where pictures become codes; the command line, the web API and the Python API all use it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from edge_runtime.camera import Capture
from edge_runtime.code import Embedding
from edge_runtime.engine import Engine
from edge_runtime.errors import PhotoError
from edge_runtime.fitting.prior import prior_of
from edge_runtime.fitting.quantized import quantize
from edge_runtime.gallery import Gallery, LabelData, LabeledCode, check_label
from edge_runtime.gallery.features.refit import Refit
from edge_runtime.gallery.pictures import count_enrolled, view_digest
from edge_runtime.gallery.query import VIEWS
from edge_runtime.gallery.rehash.move import Progress, Rehash, rehash
from edge_runtime.gallery.upkeep.first_query import prepare
from edge_runtime.image import Image
from edge_runtime.image.decode import (
    Photo,
    check_image,
    decode_photo,
    read_bytes,
)
from edge_runtime.image.exif import read_exif_position
from edge_runtime.image.preprocess import CROP, preprocess, views_of
from edge_runtime.position import Position
from edge_runtime.recognition.pipeline import embedding_of

BATCH = 32
"""Photos per commit. A power cut in the middle of a folder loses at most this many."""
KEPT_QUALITY = 90
"""JPEG quality of a kept picture (see `kept_picture`)."""
THUMBNAIL_SIDE = 160
"""Longer side of a thumbnail, in pixels."""


@dataclass(frozen=True)
class EnrollOptions:
    """How pictures are enrolled."""

    views: bool = True
    """Enroll all of `views_of` a picture, not only the whole picture."""
    thumbnails: bool = True
    """Store a thumbnail of a label's first picture."""
    position: Position | Literal["photo"] | None = None
    """Where the pictures were taken. "photo" reads it from each photo's Exif data."""
    source: str = "memory"
    """Origin recorded for pictures that do not come from a file."""
    keep_pictures: bool = False
    """Store each picture in the gallery, so that it can be moved to another model."""


@dataclass
class EnrollResult:
    """The outcome of an enrollment."""

    pictures_added: int = 0
    codes_added: int = 0
    """The codes of the added pictures, one per view."""
    pictures_known: int = 0
    """Pictures that were enrolled under the same label before."""
    pictures_completed: int = 0
    """Those of `pictures_known` that lacked features or the kept picture, and have them now."""
    picture_ids: list[int] = field(default_factory=list)
    """For each added picture, the id of its first code."""
    sounds_added: int = 0
    """Sounds of clips."""
    faults: list[PhotoError] = field(default_factory=list)
    """One error for each photo or clip that could not be used. All others were enrolled."""
    notes: list[str] = field(default_factory=list)
    """Why sounds of clips that were enrolled could not be used, one line per clip."""

    def add(self, other: EnrollResult) -> None:
        """Add the outcome of another enrollment."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


def kept_picture(image: Image, size: int) -> bytes:
    """Return a picture (uint8 H x W x 3, BGR) as the JPEG that is kept for other models.

    `size` is the side of the network's input. The picture is squashed to a square whose views have
    that size at least: cut from a picture of `size`, the corners would have to be enlarged, which
    changes twice as many bits of their codes (`python -m profiles.bench.kept_pictures`).
    """
    square = preprocess(image, round(size / CROP))
    return bytes(cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, KEPT_QUALITY])[1])


def thumbnail_of(image: Image) -> bytes:
    """Return a picture (uint8 H x W x 3, BGR) as a small JPEG."""
    scale = THUMBNAIL_SIDE / max(image.shape[:2])
    # The shorter side of a very long strip would round to 0 pixels.
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1])


def enroll_photos(
    engine: Engine,
    gallery: Gallery,
    photos: Iterable[tuple[str, Photo]],
    options: EnrollOptions = EnrollOptions(),
    *,
    step: Callable[[], None] = lambda: None,
    faults: Iterable[PhotoError] = (),
) -> EnrollResult:
    """Enroll photos under their labels and call `step` after each.

    A photo that cannot be used is listed in the result, after the `faults` of the search for
    photos; the others are enrolled nevertheless. If
    the call ends early (Ctrl-C, a full disk), every committed batch stays enrolled.
    """
    batch = _Batch(engine, gallery, options)
    batch.result.faults += faults
    try:
        for label, photo in photos:
            try:
                batch.add_photo(label, photo)
            except PhotoError as error:
                batch.result.faults.append(error)
            if len(batch) == BATCH:
                batch.commit()
            step()
    finally:
        batch.commit()
    return batch.result


def enroll_image(
    engine: Engine,
    gallery: Gallery,
    label: str,
    image: Image,
    options: EnrollOptions = EnrollOptions(),
) -> EnrollResult:
    """Enroll one camera frame (uint8 H x W x 3, BGR) under `label`.

    A frame has no file and therefore no digest: it is enrolled even if it was enrolled before.
    """
    batch = _Batch(engine, gallery, options)
    batch.add_image(check_label(label), image, options.source)
    batch.commit()
    return batch.result


def enroll_frames(
    engine: Engine,
    gallery: Gallery,
    label: str,
    camera: Capture,
    count: int,
    options: EnrollOptions = EnrollOptions(),
) -> EnrollResult:
    """Enroll `count` frames of a running camera under `label`, fewer if the camera ends."""
    batch = _Batch(engine, gallery, options)
    label = check_label(label)
    for frame in camera:
        batch.add_image(label, frame.image, f"{camera.source.name}#{frame.sequence}")
        if len(batch) >= count:
            break
    batch.commit()
    return batch.result


def rehash_gallery(
    engine: Engine,
    path: Path,
    *,
    drop_missing: bool = False,
    progress: Progress = lambda _total: nullcontext(lambda _count: None),
) -> Rehash:
    """Make the gallery at `path` one of the engine's model: see `rehash`."""
    embed = embed_kept(engine, path)
    outcome = rehash(path, engine.model, embed, drop_missing=drop_missing, progress=progress)
    prepare(path)
    return outcome


def embed_kept(engine: Engine, gallery: Path) -> Callable[[bytes, Sequence[int]], list[Embedding]]:
    """Return a function that embeds views of a picture (JPEG) that `gallery` keeps."""

    def embed(jpeg: bytes, numbers: Sequence[int]) -> list[Embedding]:
        views = views_of(decode_photo(jpeg, where=f"{gallery}, kept picture"))
        return [embedding_of(engine, views[number]) for number in numbers]

    return embed


class _Batch:
    """Pictures that are committed together, and the result of all commits so far."""

    def __init__(self, engine: Engine, gallery: Gallery, options: EnrollOptions) -> None:
        self.result = EnrollResult()
        self._engine = engine
        self._gallery = gallery
        self._options = options
        self._pictures: list[list[LabeledCode]] = []
        self._label_data: dict[str, LabelData] = {}
        self._completing = 0
        """Those of `_pictures` that are enrolled and lack something."""

    def __len__(self) -> int:
        return len(self._pictures)

    def add_photo(self, label: str, photo: Photo) -> None:
        """Add `photo`, or what `label` lacks of it; raises `PhotoError`."""
        pixels: Image | None = None
        source, where = self._options.source, "photo"
        if isinstance(photo, np.ndarray):
            pixels = check_image(photo)
            data = pixels.tobytes()
        elif isinstance(photo, bytes):
            data = photo
        else:
            data, where, source = read_bytes(photo), str(photo), str(Path(photo).absolute())
        digest = hashlib.sha256(data).digest()
        views = None
        lacking = self._gallery.lacking(label, digest)
        if lacking is not None:
            views = set(lacking.views if self._engine.model.features else ())
            if lacking.picture and self._options.keep_pictures:
                views.add(0)
            if not views:
                self.result.pictures_known += 1
                return
        position = self._options.position
        if position == "photo":
            position = read_exif_position(data) if pixels is None else None
        image = decode_photo(data, where=where) if pixels is None else pixels
        self._add(label, image, source, digest, position, views)
        self._completing += views is not None

    def add_image(self, label: str, image: Image, source: str) -> None:
        """Add a camera frame."""
        position = self._options.position
        self._add(label, image, source, None, None if position == "photo" else position)

    def _add(
        self,
        label: str,
        image: Image,
        source: str,
        digest: bytes | None,
        position: Position | None,
        numbers: Collection[int] | None = None,
    ) -> None:
        """Add the views with these `numbers`; by default those that the options demand."""
        codes = []
        if numbers is None:
            numbers = range(VIEWS) if self._options.views else [0]
        for number, view in enumerate(views_of(image)):
            if number not in numbers:
                continue
            embedding = embedding_of(self._engine, view)
            keep = self._options.keep_pictures and not number
            codes.append(
                LabeledCode(
                    label,
                    embedding.code,
                    source,
                    None if digest is None else view_digest(digest, number),
                    position,
                    None if embedding.features is None else quantize(embedding.features),
                    kept_picture(image, self._engine.model.input.size) if keep else b"",
                )
            )
        self._pictures.append(codes)
        if self._options.thumbnails and label not in self._label_data:
            self._label_data[label] = LabelData(thumbnail=thumbnail_of(image))

    def commit(self) -> None:
        """Enroll the pictures, add them to `result`, and empty the batch."""
        pictures, self._pictures = self._pictures, []
        label_data, self._label_data = self._label_data, {}
        completing, self._completing = self._completing, 0
        ids = iter(self._gallery.enroll([code for codes in pictures for code in codes], label_data))
        enrolled = [[next(ids) for _ in codes] for codes in pictures]
        counts = count_enrolled(enrolled)
        self.result.picture_ids += [first for first, *_ in enrolled if first is not None]
        self.result.pictures_completed += completing
        self.result.pictures_added += counts.pictures_added
        self.result.codes_added += counts.codes_added
        self.result.pictures_known += counts.pictures_known


def fit_if_due(engine: Engine, gallery: Gallery, bits: int | None = None) -> Refit | None:
    """Fit the gallery to its content if enough has changed; None if it has not.

    Call it after enrollment. It takes about a second, and other processes can search during it.
    Without `bits`, the code keeps its length.
    """
    return gallery.refit_if_due(prior_of(engine.model), bits)
