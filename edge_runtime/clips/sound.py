"""The sound of a clip beside its picture: what is stored, and what it says about the labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.gallery import Gallery
from edge_runtime.sound.decode import read_sound
from edge_runtime.sound.fingerprint import PER_SECOND, Fingerprints, fingerprints
from edge_runtime.sound.match import find_sounds

ODDS = 100.0
"""How much more probable a label becomes, to one, if the clip has the recording that is stored with
it. No foreign sound was found in thousands of trials, but other things may make the same sound."""
LEAST_SECONDS = 1.0
"""Of sound that is not silent; less is not stored."""


@dataclass(frozen=True)
class HeardLabel:
    """A label whose sound the clip has."""

    label: str
    bit_error_rate: float
    """Share of the compared bits that differ."""
    source: str
    """The clip that was enrolled."""


@dataclass(frozen=True)
class SoundEvidence:
    """What the sound of a clip says."""

    heard: tuple[HeardLabel, ...] = ()
    """The surest first."""
    note: str = ""
    """Why the sound was not used, if it was not."""

    @property
    def log_odds(self) -> dict[str, float]:
        """What is added to the evidence of each label that was heard."""
        return {each.label: math.log(ODDS) for each in self.heard}


def hear(gallery: Gallery, clip: Path) -> SoundEvidence | None:
    """Search the sound of `clip` among those of the gallery; None if neither has any.

    A gallery without sounds costs one look into its file.
    """
    return compare(gallery, *listen(clip)) if gallery.sounds() else None


def listen(clip: Path, *, alone: bool = False) -> tuple[Fingerprints | None, str]:
    """Return the fingerprints of the sound of `clip`, uint32 [n], or why they cannot be used.

    The second part is empty if the clip has no sound. `alone`: see `read_sound`.
    """
    sound = read_sound(clip, alone=alone)
    return (None if sound.samples is None else fingerprints(sound.samples)), sound.note


def compare(gallery: Gallery, heard: Fingerprints | None, note: str) -> SoundEvidence | None:
    """Search what `listen` returned among the sounds of the gallery; None if there is no sound."""
    if heard is None:
        return SoundEvidence((), note) if note else None
    stored = gallery.sounds()
    found: dict[str, HeardLabel] = {}
    for match in find_sounds(heard, [each.fingerprints for each in stored]):
        if match.same:
            one = stored[match.index]
            rate = round(match.bit_error_rate, 3)
            found.setdefault(one.label, HeardLabel(one.label, rate, one.source))
    return SoundEvidence(tuple(found.values()))


def enroll_sound(gallery: Gallery, label: str, clip: Path) -> tuple[bool, str]:
    """Store the sound of `clip` with the enrolled `label`, if it has enough.

    Returns whether a sound was added, and why the sound cannot be used if that is so.
    """
    found, note = listen(clip)
    if found is None:
        return False, note
    if (found != 0).sum() < LEAST_SECONDS * PER_SECOND:
        return False, ""
    return gallery.add_sound(label, found, str(clip.absolute())), ""
