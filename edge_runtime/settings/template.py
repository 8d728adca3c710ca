"""Check the texts of messages, which name fields of an event in braces."""

from __future__ import annotations

from string import Formatter

SAMPLE: dict[str, str | int | float | None] = {
    "kind": "enter",
    "what": "came into view",
    "place": "camera/region",
    "label": "cat",
    "confidence": 0.9,
    "agreement": 1.0,
    "distance": 3,
    "sequence": 7,
    "time": "2026-01-02T03:04:05.678+00:00",
    "frame_time": "2026-01-02T03:04:05.678+00:00",
    "latency_ms": 12.5,
    "id": "18a0c4",
    "board": "hall",
    "camera": "camera",
    "region": "region",
    "reason": "camera lost",
    "next_label": "dog",
    "origin": "gallery",
}
"""The fields, with values of their types. Those that may be missing are texts, "" if missing."""
DEFAULT = "{place}: {label} {what}"


def template_fault(text: str) -> tuple[str, str] | None:
    """Return what is wrong with a template, and the remedy; None if it is valid."""
    fields = ", ".join(SAMPLE)
    try:
        for _, name, specification, _ in Formatter().parse(text):
            if name is None:
                continue
            if name not in SAMPLE:
                return f"there is no field {{{name}}}", f"use {fields}; {{{{ and }}}} are braces"
            if len(specification or "") > 5 or "{" in (specification or ""):
                return f"the format of {{{name}}} is too long", "for example {confidence:.0%}"
        text.format_map(SAMPLE)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        return f"not a valid template: {error}", "for example {label}, {confidence:.0%}"
    return None
