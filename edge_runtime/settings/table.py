"""The base of every table of the configuration."""

from msgspec import Struct


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file. Its fields are the keys."""
