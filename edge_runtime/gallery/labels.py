"""What may be a label."""

from __future__ import annotations

import unicodedata

from edge_runtime.errors import LabelError

MAX_LENGTH = 128
"""Characters."""


def check_label(text: str) -> str:
    """`text` as a label: trimmed and in Unicode normal form C; raises `LabelError`.

    Any script is welcome. Slashes are not (labels become MQTT topics, addresses and folder names),
    nor is anything that a terminal would act on.
    """
    label = unicodedata.normalize("NFC", text).strip()
    shown = repr(label[:40] + "..." if len(label) > 40 else label)
    if not label or label in (".", ".."):
        raise LabelError("an empty label", where=repr(text), remedy="give the place a name")
    if len(label) > MAX_LENGTH:
        raise LabelError(
            f"a label of {len(label)} characters",
            where=shown,
            remedy=f"use at most {MAX_LENGTH}",
        )
    if "/" in label or "\\" in label:
        raise LabelError("a label with a slash", where=shown, remedy='use "-" or a space instead')
    if any(
        unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in label
    ):
        raise LabelError(
            "a label with invisible control characters", where=shown, remedy="type it anew"
        )
    return label
