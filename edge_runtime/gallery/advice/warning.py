"""The one line that an enrollment prints if something is seriously wrong."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from edge_runtime.gallery.advice.survey import AdviceOptions

if TYPE_CHECKING:
    from edge_runtime.gallery.store import Gallery

MOST_CODES = 10_000
"""Largest gallery that an enrollment checks; a larger one would take too long."""
MOST_PICTURES = 200
"""Pictures of the enrolled labels that are compared with the others."""


def enrollment_warning(gallery: Gallery, labels: Collection[str]) -> str:
    """Return one line if pictures of `labels` are under a wrong label or hard to tell apart.

    Returns "" otherwise, and for a large gallery.
    """
    if not labels or sum(gallery.labels().values()) > MOST_CODES:
        return ""
    advice = gallery.advise(
        AdviceOptions(most_pictures=MOST_PICTURES, most_photos=0, labels=labels)
    )
    findings = []
    if count := len(advice.mislabeled):
        few = "1 picture has" if count == 1 else f"{count} pictures have"
        findings.append(f"{few} probably the wrong label")
    if count := sum(bool({p.picture.label, p.other.label} & {*labels}) for p in advice.duplicates):
        few = "1 picture is" if count == 1 else f"{count} pictures are"
        findings.append(f"{few} under two labels")
    if count := len(advice.alike):
        pair = advice.alike[0]
        few = (
            f"{pair.label} and {pair.other_label} are"
            if count == 1
            else f"{count} pairs of labels are"
        )
        findings.append(f"{few} hard to tell apart")
    if not findings:
        return ""
    return f"advice: {'; '.join(findings)} (run: edge-runtime gallery advise)"
