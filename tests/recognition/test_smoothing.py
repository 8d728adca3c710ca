"""Events: what enters and leaves the view, how sure that is, and what a lost camera means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.image.lazy_jpeg import Picture
from edge_runtime.recognition.smoothing import Decider, Origin, new_id
from edge_runtime.types import Event, Frame, Verdict


def _frame(number: int) -> Frame:
    return Frame(Picture(np.zeros((1, 1, 3), np.uint8)), number, 10.0)


def _events(decider: Decider, labels: str, confidence: float = 1.0) -> list[Event]:
    """Return the events for frames given as letters: one label per letter, "." for unknown."""
    events = []
    for number, letter in enumerate(labels):
        verdict = Verdict(None if letter == "." else letter, confidence, 3)
        events += decider.update(verdict, _frame(number), 10.25)
    return events


def _decide(labels: str) -> list[str]:
    """Return the events for frames given as letters: one label per letter, "." for unknown."""
    events = _events(Decider(window=5), labels)
    assert all(event.latency_ms == 250 for event in events)
    return [f"{'-+'[event.kind == 'enter']}{event.label}{event.sequence}" for event in events]


@pytest.mark.parametrize(
    ("frames", "events"),
    [
        ("aaaaa", ["+a2"]),
        ("aabaabaaa", ["+a3"]),
        ("aaa.b.aaa", ["+a2"]),
        ("aaaaabbbbb", ["+a2", "-a7", "+b7"]),
        ("aaaaa....a....", ["+a2"]),
        ("aaaaa.....", ["+a2", "-a9"]),
        ("ab.ab.ab.", []),
        (".....", []),
    ],
)
def test_labels_do_not_flicker(frames: str, events: list[str]) -> None:
    assert _decide(frames) == events


@given(st.text(alphabet="ab.", max_size=60))
def test_enter_and_leave_always_alternate(frames: str) -> None:
    inside: str | None = None
    for event in _decide(frames):
        if event[0] == "+":
            assert inside is None
            inside = event[1]
        else:
            assert inside == event[1]
            inside = None


def test_the_confidence_is_that_of_the_frames_which_name_the_label() -> None:
    decider = Decider(window=5)
    for number, (label, confidence) in enumerate(
        [("a", 0.9), (None, 0.0), ("a", 0.7), ("b", 0.2), ("a", 0.8)]
    ):
        decider.update(Verdict(label, confidence, 3), _frame(number), 10.0)
    assert decider.current is not None
    assert decider.current.confidence == pytest.approx(0.8)
    assert decider.current.agreement == pytest.approx(0.6)


def test_a_label_that_is_replaced_names_the_next_one() -> None:
    enter, leave, following = _events(Decider(), "aaaaabbbbb")
    assert (enter.next_label, leave.next_label, following.next_label) == (None, "b", None)
    assert _events(Decider(), "aaaaa.....")[-1].next_label is None


def test_a_lost_camera_makes_its_label_leave_at_once() -> None:
    decider = Decider(origin=Origin("board", "door", "left"))
    _events(decider, "aaa")
    (event,) = decider.lose("camera lost", 17)
    assert (event.kind, event.label, event.reason) == ("leave", "a", "camera lost")
    assert (event.board, event.camera, event.region) == ("board", "door", "left")
    assert event.sequence == 17
    assert decider.current is None
    assert decider.lose("camera lost", 17) == []
    assert [event.kind for event in _events(decider, "aaa")] == ["enter"]


def test_ids_are_unique_and_in_order_of_time() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [each[:16] for each in ids] == sorted(each[:16] for each in ids)
