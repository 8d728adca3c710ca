"""Valid labels."""

from __future__ import annotations

import unicodedata

from edge_runtime.errors import LabelError

MAX_LENGTH = 128
"""Characters."""


def check_label(text: str) -> str:
    """Return `text` as a label, trimmed and in Unicode normalization form C.

    Any script is allowed. Slashes are not, since labels become MQTT topics, URLs and folder names;
    neither are control characters, which a terminal would act on. Raises `LabelError`.
    """
    label = unicodedata.normalize("NFC", text).strip()
    shown = repr(label[:40] + "..." if len(label) > 40 else label)
    if not label or label in (".", ".."):
        raise LabelError(f"label must not be empty: {text!r}")
    if len(label) > MAX_LENGTH:
        raise LabelError(
            f"label must not exceed {MAX_LENGTH} characters, got {len(label)}: {shown}"
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
