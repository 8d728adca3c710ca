"""Labels that look alike and sound different: real video files with real recordings in noise.

Every label has the same picture, so the picture cannot tell them apart, and one recording of its
own. The clips are muxed by ffmpeg (MPEG-4 and AAC), enrolled and queried as the command does it.
Noise is added to the recording of a query before it is compressed: white noise, or babble (four
other recordings at once). Foreign sounds are recordings that are not enrolled.
"""

from __future__ import annotations

import subprocess
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_runtime.clips.enroll import enroll_files
from edge_runtime.clips.query import query_clip
from edge_runtime.engine import Engine
from edge_runtime.enroll import EnrollOptions
from edge_runtime.errors import InputError
from edge_runtime.gallery import Gallery
from edge_runtime.image import Image
from edge_runtime.labeled_files import LabeledFiles
from edge_runtime.recognition.pipeline import Pipeline
from edge_runtime.sound.decode import read_sound
from edge_runtime.sound.fingerprint import RATE, fingerprints
from training.papers.clips.walks import write_clip
from training.papers.files import FinishedRuns

Noise = Literal["none", "white", "babble"]
LEAST_S, MOST_S = 3.0, 12.0
"""Seconds of a recording that is used."""
LATER = 0.13
"""Seconds that a query begins later than what was enrolled; not a multiple of a hop."""
SEED = 11


@dataclass(frozen=True, eq=False)
class Recording:
    """A real recording."""

    name: str
    samples: NDArray[np.float32]
    """Mono at `RATE`."""


def recordings(folders: Sequence[Path], count: int) -> list[Recording]:
    """Return `count` recordings (WAV files) of the folders, by name; raises InputError."""
    found: list[Recording] = []
    for path in sorted(path for folder in folders for path in folder.rglob("*.wav")):
        sound = read_sound(path).samples
        if sound is None or not LEAST_S * RATE <= len(sound) <= MOST_S * RATE:
            continue
        if (fingerprints(sound) != 0).mean() > 0.5:
            found.append(Recording(path.name, sound))
        if len(found) == count:
            return found
    raise InputError(
        f"{len(found)} recordings of {LEAST_S:g} to {MOST_S:g} s, {count} are needed",
        where=", ".join(map(str, folders)),
        remedy="install recordings, for example: apt install asterisk-core-sounds-en-wav",
    )


def mixed(
    clean: Recording, noise: Noise, snr_db: float, others: Sequence[Recording], seed: int
) -> NDArray[np.float32]:
    """Return a recording in noise at a signal-to-noise ratio in decibels."""
    samples = clean.samples
    if noise == "none":
        return samples
    rng = np.random.default_rng(seed)
    if noise == "white":
        added = rng.normal(size=len(samples)).astype(np.float32)
    else:
        picked = rng.permutation(len(others))[:4]
        added = np.sum([np.resize(others[i].samples, len(samples)) for i in picked], axis=0)
    level = np.sqrt((samples**2).mean() / max(float((added**2).mean()), 1e-12))
    both: NDArray[np.float32] = samples + added * level * 10 ** (-snr_db / 20)
    return both / max(1.0, float(np.abs(both).max()))


def write_sounding_clip(path: Path, image: Image, samples: NDArray[np.float32]) -> None:
    """Write a clip of one picture with a sound track; needs ffmpeg."""
    silent, sound = path.with_suffix(".avi"), path.with_suffix(".track.wav")
    write_clip(silent, [image] * 2)
    with sound.open("wb") as opened, wave.open(opened) as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    subprocess.run(
        [
            *("ffmpeg", "-nostdin", "-v", "error", "-y", "-i", silent, "-i", sound),
            *("-c:v", "mpeg4", "-q:v", "3", "-c:a", "aac", "-ar", "16000", "-b:a", "48k", path),
        ],
        check=True,
    )
    silent.unlink()
    sound.unlink()


def run_sounds(
    engine: Engine,
    image: Image,
    known: Sequence[Recording],
    foreign: Sequence[Recording],
    conditions: Sequence[tuple[Noise, float]],
    folder: Path,
    done: FinishedRuns,
    settings: dict[str, Any],
    step: Callable[[], None] = lambda: None,
) -> dict[tuple[Noise, float], list[dict[str, Any]]]:
    """Return the records of each condition: one per label, and one per foreign sound."""
    folder.mkdir(parents=True, exist_ok=True)
    answers: dict[tuple[Noise, float], list[dict[str, Any]]] = {}
    with Gallery(folder / "sounds.sqlite", engine.model, create=True) as gallery:
        for each in known:
            path = folder / f"{each.name}.mp4"
            if not path.exists():
                write_sounding_clip(path, image, each.samples)
            files = LabeledFiles(clips=[(each.name, path)])
            enroll_files(engine, gallery, files, EnrollOptions(views=False))
        pipeline = Pipeline(engine, gallery)
        height, width = image.shape[:2]
        part = np.ascontiguousarray(image[height // 20 :, width // 20 :])
        for noise, snr_db in conditions:
            answers[noise, snr_db] = []
            for number, each in enumerate([*known, *foreign]):
                key = {**settings, "part": "sounds", "noise": noise, "snr": snr_db}
                key["recording"] = each.name
                record = done.find(key)
                if record is None:
                    samples = mixed(each, noise, snr_db, foreign, SEED + number)
                    path = folder / "query.mp4"
                    write_sounding_clip(path, part, samples[int(LATER * RATE) :])
                    record = _query(pipeline, path, each.name, number < len(known))
                    done.add(key, record)
                answers[noise, snr_db].append(record)
                step()
    return answers


def _query(pipeline: Pipeline, path: Path, name: str, known: bool) -> dict[str, Any]:
    with_sound, alone = (query_clip(pipeline, path, sound=sound) for sound in (True, False))
    return {
        "name": name,
        "known": known,
        "heard": [each.label for each in with_sound.sound.heard] if with_sound.sound else [],
        "with_sound": with_sound.label,
        "confidence": with_sound.confidence,
        "alone": alone.label,
        "alone_confidence": alone.confidence,
    }
