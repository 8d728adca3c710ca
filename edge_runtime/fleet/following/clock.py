"""Whether the clock can be right: what is signed expires, and only a clock can tell.

Many boards have no clock that runs without power. Such a board must not take old metadata for new.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from edge_runtime.errors import ClockError

NOT_BEFORE = datetime(2026, 11, 1, tzinfo=UTC)
"""Before this software was written. A release may move it forward, never past its own date."""
TOLERANCE = timedelta(minutes=10)
"""Two clocks differ, that of the desk and that of a board. What is signed is valid for days."""


def check_clock(signed_at: datetime | None = None, now: datetime | None = None) -> None:
    """Raise `ClockError` if it is earlier than this software, or than what was signed already.

    `signed_at` is when the newest metadata that this board has accepted was signed.
    """
    now = now or datetime.now(UTC)
    earliest, what = NOT_BEFORE, "this software was written"
    if signed_at is not None and signed_at - TOLERANCE > earliest:
        earliest, what = signed_at - TOLERANCE, "the fleet signed what this board has"
    if now < earliest:
        raise ClockError(
            f"the clock says {_shown(now)}, but {what} at {_shown(earliest)} or later",
            where="clock",
            remedy="set it: timedatectl set-ntp true. Until then no version is accepted",
        )


def _shown(time: datetime) -> str:
    return time.isoformat(timespec="minutes")
