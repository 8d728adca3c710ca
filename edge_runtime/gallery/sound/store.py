"""The sounds of an open gallery."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.gallery.changes import existing
from edge_runtime.gallery.opened import OpenGallery
from edge_runtime.gallery.rows import begin_generation
from edge_runtime.gallery.schema import translated
from edge_runtime.gallery.sound.rows import StoredSound, read_sounds, write_sound


class SoundStore(OpenGallery):
    """A gallery whose labels may have sounds."""

    def add_sound(self, label: str, fingerprints: NDArray[np.uint32], source: str = "") -> bool:
        """Store a sound with an enrolled label, unless it has it; return whether it was added.

        `fingerprints` is uint32 [n], n > 0. Raises `NotEnrolledError` or `InputError`.
        """
        if fingerprints.dtype != np.uint32 or fingerprints.ndim != 1 or not len(fingerprints):
            raise InputError(
                f"fingerprints must be uint32 [n], got {fingerprints.dtype} {fingerprints.shape}"
            )
        return bool(self.add_sounds([StoredSound(label, source, fingerprints)]))

    def add_sounds(self, sounds: Sequence[StoredSound]) -> int:
        """Store several sounds, all or none; return how many are new. Raises `NotEnrolledError`."""
        if not sounds:
            return 0
        with self._writing():
            added = sum(
                write_sound(
                    self._connection,
                    existing(self._connection, each.label),
                    each.source,
                    each.fingerprints,
                )
                for each in sounds
            )
            if added:
                begin_generation(self._connection)
        return added

    def sounds(self) -> list[StoredSound]:
        """Return the sounds of all labels; a corrupt one is left out."""
        with translated(self.path):
            return read_sounds(self._connection)
