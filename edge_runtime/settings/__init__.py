"""The daemon's configuration: one TOML file, validated as a whole before anything starts.

msgspec validates it: of what was measured, it is the lighter to import (19 ms here, pydantic 59 ms)
and the smaller to install.
"""

from edge_runtime.settings.read import parse_settings, read_secret, read_settings
from edge_runtime.settings.schema import RELOADABLE, Settings

__all__ = ["RELOADABLE", "Settings", "parse_settings", "read_secret", "read_settings"]
