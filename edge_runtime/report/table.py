"""What every table of a report is made of."""

from __future__ import annotations

from msgspec import Meta, Struct

UNITS = (
    "ms", "us", "s", "bytes", "c", "mhz", "share", "ratio", "count", "bits", "pixels", "version",
    "per_s", "macs",
)  # fmt: skip
"""The name of every number ends in one of these."""


def about(text: str) -> Meta:
    """Return the description of a field."""
    return Meta(description=text)


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a report."""
