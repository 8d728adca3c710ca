"""Recovery of failed cameras: the retry policy, and the supervisor with faulty sources."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.camera.fake import FakeSource
from edge_runtime.camera.recovery import Recovery, RetryPolicy, State
from edge_runtime.camera.supervisor import HUNG_LIMIT, CameraSupervisor
from edge_runtime.errors import CameraLostError, CameraNotFoundError
from edge_runtime.image import Image

Noise = Callable[[int], Image]
QUICK = RetryPolicy(shortest_s=0.01, longest_s=0.02, budget=3)


def _no_jitter(_low: float, high: float) -> float:
    return high


def test_delays_double_up_to_the_longest() -> None:
    recovery = Recovery("cam", RetryPolicy(1, 30, budget=100), now_s=0, jitter=_no_jitter)
    assert [recovery.failed("gone", 10.0 * n) for n in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert recovery.restarts == 7


def test_an_exhausted_budget_makes_every_delay_the_longest() -> None:
    recovery = Recovery(
        "cam", RetryPolicy(1, 30, budget=3, window_s=60), now_s=0, jitter=_no_jitter
    )
    for now_s in (0.0, 1.0, 2.0):  # it runs briefly each time, but never becomes stable
        assert recovery.failed("gone", now_s) < 30
        recovery.frame(now_s + 0.5)
    assert recovery.failed("gone", 3.0) == 30


def test_a_stable_camera_starts_with_the_shortest_delay_again() -> None:
    recovery = Recovery("cam", RetryPolicy(1, 30, stable_s=10), now_s=0, jitter=_no_jitter)
    recovery.failed("gone", 0)
    recovery.failed("gone", 1)
    recovery.frame(2)
    recovery.frame(13)
    assert recovery.failed("gone", 100) == 1


@given(st.lists(st.sampled_from(["frame", "fault", "stop"]), max_size=40))
def test_every_transition_is_logged_exactly_once(acts: list[str]) -> None:
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("edge_runtime.camera.recovery")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        recovery = Recovery("cam", now_s=0)
        state, transitions = State.STARTING, 0
        for number, act in enumerate(acts):
            if state is State.STOPPED:
                break
            if act == "fault":
                assert 0 < recovery.failed("gone", number) <= 30
            elif act == "frame":
                recovery.frame(number)
            else:
                recovery.stop("done", number)
            expected = {"frame": State.RUNNING, "fault": State.DEGRADED, "stop": State.STOPPED}[act]
            transitions += expected is not state
            state = expected
            assert recovery.state is state
        assert len(records) == transitions
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _state(supervisor: CameraSupervisor) -> State:
    """Return the state; a call, so that mypy does not narrow the property."""
    return supervisor.state


def _frames(supervisor: CameraSupervisor, count: int, limit_s: float = 10.0) -> list[int]:
    numbers: list[int] = []
    end_s = time.monotonic() + limit_s
    while len(numbers) < count and time.monotonic() < end_s:
        frame = supervisor.poll(0.05)
        if frame is not None:
            numbers.append(frame.sequence)
    return numbers


@pytest.mark.parametrize(
    "fault",
    [CameraLostError("unplugged", where="fake"), RuntimeError("bus error"), None],
    ids=["lost", "driver", "end of stream"],
)
def test_the_camera_recovers_after(noise: Noise, fault: Exception | None) -> None:
    taken = threading.Event()
    source = FakeSource([noise(0), taken.wait, fault, fault, noise(1)], live=True)
    with CameraSupervisor(source, policy=QUICK) as supervisor:
        assert _frames(supervisor, 1) == [0]
        assert _state(supervisor) is State.RUNNING
        taken.set()
        assert _frames(supervisor, 1) == [1]
        assert supervisor.recovery.restarts >= 2
        assert supervisor.recovery.fault
    assert _state(supervisor) is State.STOPPED
    assert supervisor.poll(0) is None


def test_a_call_that_hangs_forever_is_abandoned(noise: Noise) -> None:
    release = threading.Event()
    source = FakeSource([noise(0), release.wait, noise(1), release.wait], live=True)
    with CameraSupervisor(source, policy=QUICK, next_frame_s=0.05) as supervisor:
        assert _frames(supervisor, 2) == [0, 1]
        assert supervisor.hung_calls >= 1
        release.set()
    end_s = time.monotonic() + 5
    while supervisor.hung_calls and time.monotonic() < end_s:
        time.sleep(0.01)
    assert supervisor.hung_calls == 0


def test_too_many_hanging_calls_are_an_error(noise: Noise) -> None:
    release = threading.Event()
    source = FakeSource([noise(0), *[release.wait] * (HUNG_LIMIT + 2)], live=True)
    supervisor = CameraSupervisor(source, policy=QUICK, first_frame_s=0.02, next_frame_s=0.02)
    with pytest.raises(CameraLostError, match="calls hang in the camera's driver"):
        _frames(supervisor, 2, limit_s=60)
    release.set()
    supervisor.close()


def test_damaged_frames_are_counted_and_too_many_are_a_failure(noise: Noise) -> None:
    bad = noise(0)[:, :, 0]
    taken = threading.Event()
    items = [bad, noise(0), taken.wait, *[bad] * 30, noise(1)]
    with CameraSupervisor(FakeSource(items, live=True), policy=QUICK) as supervisor:
        assert _frames(supervisor, 1) == [0]
        taken.set()
        assert _frames(supervisor, 1) == [1]
        assert supervisor.damaged == 31
        assert "30 damaged frames in a row" in supervisor.recovery.fault


def test_frames_may_change_their_size(noise: Noise) -> None:
    taken = threading.Event()
    small = noise(1)[:20, :30]
    with CameraSupervisor(FakeSource([noise(0), taken.wait, small], live=True)) as supervisor:
        assert _frames(supervisor, 1) == [0]
        taken.set()
        assert _frames(supervisor, 1) == [1]
        assert supervisor.recovery.restarts == 0


def test_a_missing_camera_is_an_error_without_wait() -> None:
    source = FakeSource([CameraNotFoundError("not there", where="fake")], live=True)
    supervisor = CameraSupervisor(source, wait=False)
    with pytest.raises(CameraNotFoundError, match="not there"):
        _frames(supervisor, 1)
    supervisor.close()


def test_an_unreadable_file_is_an_error_and_its_end_stops_the_camera(noise: Noise) -> None:
    supervisor = CameraSupervisor(FakeSource([]))
    with pytest.raises(CameraNotFoundError, match="no readable picture"):
        _frames(supervisor, 1)
    supervisor.close()
    with CameraSupervisor(FakeSource([noise(n) for n in range(5)])) as supervisor:
        assert _frames(supervisor, 6, limit_s=2) == [0, 1, 2, 3, 4]
        assert supervisor.state is State.STOPPED


def test_a_limited_rate_skips_frames_and_counts_them(noise: Noise) -> None:
    items = [item for n in range(200) for item in (lambda: time.sleep(0.002), noise(n % 3))]
    with CameraSupervisor(FakeSource([*items, threading.Event().wait], live=True)) as supervisor:
        supervisor.limit_rate(20)
        while supervisor.skipped + supervisor.dropped < 150:
            supervisor.poll(0.01)
        assert supervisor.skipped > 100
