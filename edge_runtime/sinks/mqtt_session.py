"""Notice that another client takes over the session of this one."""

from __future__ import annotations

import time
from collections.abc import Callable

SHORT_S = 30.0
"""A session that the broker ends earlier than this is short."""
IN_A_ROW = 3
"""Short sessions in a row that show a conflict."""


class SessionWatch:
    """Counts sessions that the broker has ended.

    A broker ends a session when another client connects with the same id. Before MQTT 5 it does
    not say so. Two boards with one id end each other's sessions for as long as both run, each
    after about a second.
    """

    def __init__(self, client_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client_id = client_id
        self._clock = clock
        self._began_s: float | None = None
        self._short = 0

    def began(self) -> None:
        """Record a new session."""
        self._began_s = self._clock()

    def ended(self) -> bool:
        """Record that the broker ended the session; return whether that shows a fault first."""
        if self._began_s is None:
            return False
        is_short = self._clock() - self._began_s < SHORT_S
        self._short = self._short + 1 if is_short else 0
        self._began_s = None
        return bool(self._client_id) and self._short == IN_A_ROW

    @property
    def fault(self) -> str:
        """What is wrong, with the remedy; empty if nothing is."""
        lasting = self._began_s is not None and self._clock() - self._began_s >= SHORT_S
        if not self._client_id or self._short < IN_A_ROW or lasting:
            return ""
        return (
            f"the broker has ended {IN_A_ROW} sessions in a row: another client probably uses the "
            f'client id "{self._client_id}", too (give each board an mqtt.client_id of its own, or '
            "remove the key)"
        )
