"""The values that go into a gallery and come out of it."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from typing import NamedTuple

from edge_runtime.code import Code
from edge_runtime.errors import InputError, LabelError
from edge_runtime.fitting.quantized import QuantizedFeatures
from edge_runtime.position import Position

MAX_THUMBNAIL_BYTES = 65_536
MAX_PAYLOAD_BYTES = 262_144
MAX_LABEL_LENGTH = 128
"""Characters."""
MOST_CODES = 50_000
"""Above this number of codes no features are loaded: they would take more memory than a board has
to spare. The codes alone decide then."""
UNKNOWN = "unknown"
"""The label of things that must not be named: what resembles one of its pictures is unknown."""


@dataclass(frozen=True, eq=False)
class LabeledCode:
    """One code to enroll: one view of a picture, with the label of the picture."""

    label: str
    code: Code
    source: str = ""
    """Where the picture came from, in human-readable form."""
    digest: bytes | None = None
    """Identifies the view of the picture (see `view_digest`). A label stores each digest once."""
    position: Position | None = None
    """Where the picture was taken."""
    features: QuantizedFeatures | None = None
    """int8 [F], if the model gives any (see `edge_runtime.fitting.quantized`)."""
    picture: bytes = b""
    """The picture as a JPEG to keep, or empty; on the code of the whole picture."""


@dataclass(frozen=True)
class LabelData:
    """The data stored with a label beside its codes."""

    payload: str = ""
    """JSON text of the application, or empty."""
    thumbnail: bytes = b""
    """A small JPEG, or empty."""

    def checked(self, label: str) -> LabelData:
        """Return this data; raise `InputError` if the payload or the thumbnail is not valid."""
        if self.payload:
            try:
                if len(self.payload.encode()) > MAX_PAYLOAD_BYTES:
                    raise InputError(
                        f"the payload must not exceed {MAX_PAYLOAD_BYTES} bytes, "
                        f"got {len(self.payload.encode())}",
                        where=label,
                    )
                json.loads(self.payload)
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"the payload is not valid JSON: {error}",
                    where=label,
                    remedy="quote it as JSON",
                ) from error
        if self.thumbnail and self.thumbnail[:3] != b"\xff\xd8\xff":
            raise InputError("the thumbnail is not a JPEG", where=label, remedy="encode it as JPEG")
        if len(self.thumbnail) > MAX_THUMBNAIL_BYTES:
            raise InputError(
                f"the thumbnail must not exceed {MAX_THUMBNAIL_BYTES} bytes, "
                f"got {len(self.thumbnail)}",
                where=label,
            )
        return self


class Counts(NamedTuple):
    """A number of pictures, and the number of their codes."""

    pictures: int
    codes: int


class EnrollCounts(NamedTuple):
    """The outcome of an enrollment, in numbers."""

    pictures_added: int
    codes_added: int
    pictures_known: int
    """Pictures that were enrolled under the same label before."""


@dataclass(frozen=True)
class Stats:
    """A gallery in numbers."""

    path: str
    model_id: str
    bits: int
    pictures: int
    codes: int
    labels: int
    generation: int
    """The number of committed changes."""
    size_bytes: int
    features: int
    """Codes that have features."""
    kept_pictures: int
    """Pictures that are kept (`edge-runtime enroll --keep-pictures`)."""
    kept_bytes: int
    """The size of all kept pictures."""
    fitted_bits: int | None
    """Bits of the code fitted to the gallery; None if the model's own code is searched."""
    fitted_similarity: bool
    """Whether similarities are fitted to the gallery, too, instead of plain cosines."""
    fleet_version: int | None = None
    """The version of its fleet that it has; None if it follows none (docs/FLEET.md)."""
    pending_pictures: int | None = None
    """Pictures that no version has named: proposals to the fleet."""
    sounds: int = 0
    """Sounds of clips (docs/CLIPS.md)."""

    def lacking_features(self) -> str:
        """Return a line about features that queries cannot use, and what to do; "" if they can."""
        missing = self.codes - self.features
        if not missing and self.codes <= MOST_CODES:
            return ""
        if not missing:
            fit = ", and the fit is not used" if self.fitted_bits else ""
            return (
                f"{self.codes} codes are more than the limit of {MOST_CODES} for features, so "
                f"queries compare only codes{fit} (remove pictures, or divide the gallery)"
            )
        return (
            f"{missing} of {self.codes} codes have no features, so queries compare only codes "
            "(repeat edge-runtime enroll with the same photos)"
        )


def check_label(text: str) -> str:
    """Return `text` as a label, trimmed and in Unicode normalization form C.

    Any script is allowed. Slashes are not, since labels become MQTT topics, URLs and folder names;
    neither are control characters, which a terminal would act on. Raises `LabelError`.
    """
    label = unicodedata.normalize("NFC", text).strip()
    shown = repr(label[:40] + "..." if len(label) > 40 else label)
    if not label:
        raise LabelError(f"label must not be empty: {text!r}")
    if label in (".", ".."):
        raise LabelError(f"label must not be {shown}")
    if len(label) > MAX_LABEL_LENGTH:
        raise LabelError(
            f"label must not exceed {MAX_LABEL_LENGTH} characters, got {len(label)}: {shown}"
        )
    if "/" in label or "\\" in label:
        slash = "/" if "/" in label else "\\"
        raise LabelError(
            f"label must not contain '{slash}': {shown}", remedy='use "-" or a space instead'
        )
    if any(
        unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in label
    ):
        raise LabelError(
            f"label must not contain control characters: {shown}", remedy="type it again"
        )
    return label
