"""Which files are clips, by their names; it loads nothing heavy."""

from __future__ import annotations

from pathlib import Path

CLIP_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".3gp", ".3g2"}
    | {".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv", ".mjpeg", ".mjpg"}
)
"""In lower case."""


def is_clip_name(path: Path) -> bool:
    """Return whether the name is that of a video file."""
    return path.suffix.lower() in CLIP_SUFFIXES
