"""Which boards take part in a roll-out, and its signed description."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import FleetFormatError
from edge_runtime.fleet.waves import Rollout, parse_rollout, share_of

ROLLOUT = Rollout("ab" * 8, "rpi4", "cd" * 32, 10.0, (1.0, 10.0, 100.0), "running")
NAMES = [f"board-{number}" for number in range(2000)]


@given(st.text(max_size=20), st.integers(0, 100), st.integers(0, 100))
def test_a_later_wave_includes_the_boards_of_an_earlier_one(
    board: str, first: int, second: int
) -> None:
    small, large = sorted((first, second))
    assert not ROLLOUT.includes(board, small) or ROLLOUT.includes(board, large)
    assert ROLLOUT.includes(board, 100)
    assert not ROLLOUT.includes(board, 0)


@pytest.mark.parametrize("percent", [1, 10, 50])
def test_a_wave_has_its_share_and_each_roll_out_other_boards(percent: int) -> None:
    one = {name for name in NAMES if ROLLOUT.includes(name, percent)}
    two = {name for name in NAMES if replace(ROLLOUT, id="ef" * 8).includes(name, percent)}
    expected = len(NAMES) * percent / 100
    assert abs(len(one) - expected) < 4 * expected**0.5
    assert one != two


def test_the_share_is_the_documented_one() -> None:
    assert share_of("hall", "0123456789ab") == 0x43E0E192 / 2**32


def test_the_description_survives_its_file() -> None:
    assert parse_rollout(ROLLOUT.to_bytes()) == ROLLOUT
    assert parse_rollout(json.dumps({**json.loads(ROLLOUT.to_bytes()), "later": 1}).encode()) == (
        ROLLOUT
    )


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../x"},
        {"model_id": "x"},
        {"state": "paused"},
        {"waves": []},
        {"waves": [10, 10, 100]},
        {"waves": [1, 50]},
        {"percent": 101},
        {"percent": "x"},
        {"percent": float("nan")},
        {"attempt": 0},
        {"cpu": None, "waves": None},
    ],
)
def test_what_is_no_description_is_one_line(change: dict[str, Any]) -> None:
    with pytest.raises(FleetFormatError, match=r"^rollout.json: not a roll-out: "):
        parse_rollout(json.dumps({**json.loads(ROLLOUT.to_bytes()), **change}).encode())
    for content in (b"", b"[]", b"{}", b"[" * 70_000):
        with pytest.raises(FleetFormatError):
            parse_rollout(content)
