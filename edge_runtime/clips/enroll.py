"""Enroll the frames of a clip that are worth it: sharp, and different from each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
from edge_runtime.labeled_files import LabeledFiles
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
    """Number of the frame in the file."""
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
        result.add(enroll_photos(engine, gallery, [(label, frame.jpeg)], options))
    return result


def enroll_files(
    engine: Engine,
    gallery: Gallery,
    files: LabeledFiles,
    options: EnrollOptions = PLAIN,
    most: int = KEPT_FRAMES,
    *,
    sound: bool = True,
    step: Callable[[], None] = lambda: None,
) -> EnrollResult:
    """Enroll photos, and of each clip up to `most` frames and its `sound`; call `step` after each.

    A file that cannot be used is listed in the result; the others are enrolled nevertheless.
    """
    result = enroll_photos(engine, gallery, files.photos, options, step=step, faults=files.faults)
    for label, path in files.clips:
        try:
            result.add(enroll_clip(engine, gallery, label, path, options, most=most))
        except PhotoError as error:
            result.faults.append(error)
        else:
            if sound:
                added, note = enroll_sound(gallery, label, path)
                result.sounds_added += added
                result.notes += [f"{path}: {note}"] if note else []
        step()
    return result


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
