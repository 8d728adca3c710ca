"""The interface of what runs beside the main loop, such as the web server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_runtime.settings import Settings
from edge_runtime.system.helper_thread import HelperThread


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Change:
    """What a part does about a new configuration."""

    apply: Callable[[], None] = _nothing
    """Called once the whole configuration is known to be valid; raises nothing."""
    needs_restart: bool = False
    """Whether something else has changed, which only a restart applies."""
    tables: frozenset[str] = frozenset()
    """The tables of the configuration that the part applies."""


class AttachedPart(Protocol):
    """Something that runs beside the daemon for as long as it does."""

    @property
    def threads(self) -> Sequence[HelperThread]:
        """Its helper threads."""

    def check(self) -> None:
        """Raise `EdgeRuntimeError` if it no longer works; called once per second."""

    def prepare(self, settings: Settings) -> Change:
        """Read what `settings` name, and change nothing yet; raises `EdgeRuntimeError`."""

    def close(self, wait_s: float) -> None:
        """Stop within `wait_s`."""
