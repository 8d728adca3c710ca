"""Enroll the frames of a clip that are worth it: sharp, and different from each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from edge_runtime.clips.frames import ClipOptions, samples
from edge_runtime.clips.sound import enroll_sound
from edge_runtime.code import Code, hamming
from edge_runtime.engine import Engine
from edge_runtime.enroll import EnrollOptions, EnrollResult, enroll_photos
from edge_runtime.errors import PhotoError
from edge_runtime.gallery import Gallery, check_label
from edge_runtime.image import Image
from edge_runtime.image.quality import photo_blur, photo_fault
from edge_runtime.recognition.pipeline import code_of

KEPT_FRAMES = 8
"""Frames of a clip that are enrolled at most."""
DIFFERENT = 6
"""Bits by which the codes of two enrolled frames differ at least. A frame beside another one in a
clip of a camera at rest differs by fewer, another side of the thing by a dozen and more."""
ENROLL_CLIP = ClipOptions(most_frames=60)
"""Frames from which the kept ones are chosen: half a minute of a clip."""
_QUALITY = 95
PLAIN = EnrollOptions()


@dataclass(frozen=True, eq=False)
class Candidate:
    """A sampled frame of a clip."""

    number: int
    """Of the frame in the file."""
    jpeg: bytes
    """The frame; as pixels, those of 60 frames of a phone's film would take 400 MB."""
    code: Code
    blur: float
    """0, sharp, to 1."""
    usable: bool
    """Whether it is neither dark nor uniform nor blurred."""


def choose(
    codes: Code, blurs: list[float], most: int = KEPT_FRAMES, different: int = DIFFERENT
) -> list[int]:
    """Return the indices of the frames to keep, in the order of the clip.

    `codes` is uint64 [n, W]. The first choice is the sharpest frame, then always the frame that is
    farthest from all chosen ones, the sharper one of two that are equally far. No two chosen frames
    are nearer than `different` bits.
    """
    if not len(codes):
        return []
    sharp = np.asarray(blurs, np.float64)
    chosen = [int(sharp.argmin())]
    nearest = hamming(codes, codes[chosen[0]])
    while len(chosen) < most and nearest.max() >= different:
        ties = np.flatnonzero(nearest == nearest.max())
        chosen.append(int(ties[sharp[ties].argmin()]))
        nearest = np.minimum(nearest, hamming(codes, codes[chosen[-1]]))
    return sorted(chosen)


def enroll_clip(
    engine: Engine,
    gallery: Gallery,
    label: str,
    path: Path,
    options: EnrollOptions = PLAIN,
    clip: ClipOptions = ENROLL_CLIP,
    most: int = KEPT_FRAMES,
) -> EnrollResult:
    """Enroll up to `most` frames of the clip at `path` under `label`, one picture per frame.

    The same clip gives the same frames, so repeating the call adds nothing. Raises `PhotoError` if
    the clip cannot be read, or if all of its frames are dark, uniform or blurred.
    """
    label = check_label(label)
    candidates = _candidates(engine, path, clip)
    usable = [each for each in candidates if each.usable]
    if not usable:
        raise PhotoError(
            f"none of {len(candidates)} frames is sharp and bright enough"
            if candidates
            else "it contains no readable picture",
            where=path,
            remedy="film it in better light, and move the camera slowly",
        )
    kept = choose(np.stack([each.code for each in usable]), [each.blur for each in usable], most)
    result = EnrollResult()
    for index in kept:
        frame = usable[index]
        options = replace(options, source=f"{path.absolute()}#{frame.number}")
        _add(result, enroll_photos(engine, gallery, [(label, frame.jpeg)], options))
    return result


@dataclass
class ClipSounds:
    """The sounds of clips that were enrolled."""

    added: int = 0
    notes: list[str] = field(default_factory=list)
    """Why sounds could not be used, one line per clip."""


def enroll_clips(
    engine: Engine,
    gallery: Gallery,
    label: str,
    paths: Sequence[Path],
    options: EnrollOptions,
    result: EnrollResult,
    most: int = KEPT_FRAMES,
    *,
    sound: bool = True,
) -> ClipSounds:
    """Enroll several clips under `label`, and add the outcome and what failed to `result`."""
    sounds = ClipSounds()
    for path in paths:
        try:
            _add(result, enroll_clip(engine, gallery, label, path, options, most=most))
        except PhotoError as error:
            result.faults.append(error)
            continue
        if sound:
            added, note = enroll_sound(gallery, label, path)
            sounds.added += added
            if note:
                sounds.notes.append(f"{path}: {note}")
    return sounds


def _add(total: EnrollResult, one: EnrollResult) -> None:
    for name in ("pictures_added", "codes_added", "pictures_known", "pictures_completed"):
        setattr(total, name, getattr(total, name) + getattr(one, name))
    total.picture_ids += one.picture_ids
    total.faults += one.faults


def _candidates(engine: Engine, path: Path, clip: ClipOptions) -> list[Candidate]:
    found = []
    with samples(path, clip) as taken:
        for sample in taken:
            image = sample.frame.image
            found.append(
                Candidate(
                    sample.number,
                    _jpeg(image),
                    code_of(engine, image),
                    photo_blur(image),
                    photo_fault(image) is None,
                )
            )
    return found


def _jpeg(image: Image) -> bytes:
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1])
