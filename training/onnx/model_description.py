"""Describe an ONNX hash model that has no description in its metadata."""

from __future__ import annotations

from dataclasses import dataclass, fields

CHANNELS = 3


@dataclass(frozen=True)
class ModelDescription:
    """Input and output format of a foreign model; None where the user gave no value.

    An input value is (pixel * scale + offset - mean) / std, with mean and std per channel in the
    model's own channel order.
    """

    size: int | None = None
    layout: str | None = None
    color: str | None = None
    scale: float | None = None
    offset: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    threshold: float | None = None
    output: str | None = None
    radius: int | None = None
    name: str | None = None

    @property
    def options(self) -> list[str]:
        """Return the command-line options that were given."""
        return [f"--{each.name}" for each in fields(self) if getattr(self, each.name) is not None]
